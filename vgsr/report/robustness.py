"""How each arm stands noise, reverberation and short speech: EER by condition, over its seeds.

In: the tables of `vgsr.evaluation.matrix` that runs carry. Out: a Markdown table a trial list, with a row for each
condition and for the means over them; what is drawn of it is `vgsr.evaluation.robustness_plot`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from vgsr.evaluation import matrix
from vgsr.evaluation.conditions import ALL, Condition
from vgsr.evaluation.disturbances import NOISES
from vgsr.report.collect import Benchmark, Figure
from vgsr.report.leaderboard import name, percent, told
from vgsr.report.markdown import table
from vgsr.storage import parquet


@dataclass(frozen=True)
class Tested:
    """One trial list under disturbances. tables: arm → of each of its completed runs a `matrix.TABLE`."""

    trials: str
    tables: Mapping[str, Sequence[pa.Table]]

    def eers(self, arm: str) -> list[dict[Condition, float]]:
        """EER in [0, 1] by condition, of each of an arm's runs."""
        return [matrix.of_table(one) for one in self.tables[arm]]

    def figure(self, arm: str, condition: Condition) -> Figure | None:
        """The EER of an arm under a condition, over the runs that have it."""
        values = [own[condition] for own in self.eers(arm) if condition in own]
        return Figure.over(values) if values else None

    def mean(self, arm: str, over: Sequence[Condition]) -> Figure:
        """The mean EER of an arm over conditions that all runs have."""
        return Figure.over([matrix.mean(own, over) for own in self.eers(arm)])

    @property
    def conditions(self) -> list[Condition]:
        """All that any run was tested under, in the protocol's order."""
        there = {one for arm in self.tables for own in self.eers(arm) for one in own}
        return [one for one in ALL if one in there]

    @property
    def common(self) -> list[Condition]:
        """Those that all runs were tested under."""
        return [one for one in self.conditions if all(one in own for arm in self.tables for own in self.eers(arm))]

    @property
    def protocols(self) -> set[str]:
        """How each of the runs was tested."""
        said = [(one.schema.metadata or {}).get(b"protocol") for own in self.tables.values() for one in own]
        return {"no protocol is known" if line is None else line.decode() for line in said}

    @property
    def caption(self) -> str:
        """What `robustness_plot` shows of it."""
        return (
            f"{self.trials}: EER by SNR, a panel for each kind of noise. Of several seeds the line is the mean and the "
            "bar one standard deviation."
        )


def gather(benchmark: Benchmark) -> list[Tested]:
    """What the shown arms' runs carry, by list."""
    found: dict[str, dict[str, list[pa.Table]]] = {}
    for arm in benchmark.shown:
        for run in arm.completed:
            for trials, place in benchmark.robustness[run.run_id].items():
                found.setdefault(trials, {}).setdefault(arm.name, []).append(parquet.table(place))
    return [Tested(trials, tables) for trials, tables in sorted(found.items())]


def plotted(benchmark: Benchmark) -> list[Tested]:
    """Those of `gather` with noise in them, which is what the plot is about."""
    return [tested for tested in gather(benchmark) if any(one.kind in NOISES for one in tested.common)]


def markdown(benchmark: Benchmark) -> str:
    """A table a list, and how it was tested; "" where no run carries any."""
    parts: list[str] = []
    for tested in gather(benchmark):
        parts += [f"**{tested.trials}**, EER %", _table(benchmark, tested), *told(tested.protocols)]
    return "\n\n".join(parts)


def _table(benchmark: Benchmark, tested: Tested) -> str:
    arms = [arm for arm in benchmark.shown if arm.name in tested.tables]
    rows = [
        [condition.name, *(percent(tested.figure(arm.name, condition)) for arm in arms)]
        for condition in tested.conditions
    ]
    for words, over in matrix.means(tested.common).items():
        rows.append([f"**{words}**", *(percent(tested.mean(arm.name, over)) for arm in arms)])
    return table(["condition", *map(name, arms)], rows, numbers=range(1, len(arms) + 1))
