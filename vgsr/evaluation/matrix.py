"""Equal error rates by condition: one model on one trial list, its means, and its table.

The means are over the conditions of the noise protocol (clean, noise, babble, music) and over all of them; each says
how many and which it is over, since a folder of noise need not have all kinds.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import pyarrow as pa

from vgsr.evaluation.conditions import ALL, CLEAN, NOISY, UNITS, Condition
from vgsr.evaluation.protocol import Protocol, counted

TABLE = pa.schema(
    [
        ("condition", pa.string()),
        ("kind", pa.string()),
        ("level", pa.float64()),  # dB or s; null where there is none
        ("eer", pa.float64()),  # in [0, 1]
    ]
)


@dataclass(frozen=True)
class Matrix:
    """Equal error rates in [0, 1] of one model on one trial list, by condition."""

    eer: Mapping[Condition, float]
    targets: int
    nontargets: int
    protocol: Protocol

    def table(self) -> pa.Table:
        """A row a condition (`TABLE`); the protocol is in its metadata."""
        rows = [
            {"condition": one.name, "kind": one.kind, "level": one.level, "eer": eer} for one, eer in self.eer.items()
        ]
        counts = counted(self.targets, self.nontargets)
        return pa.Table.from_pylist(rows, TABLE).replace_schema_metadata(
            {"protocol": f"{counts} · {self.protocol.line()}"}
        )


def means(conditions: Iterable[Condition]) -> dict[str, list[Condition]]:
    """The means to tell where there are these conditions, that of the noise protocol first: words → conditions.

    `mean of 16 (clean, noise 0–20 dB, babble 0–20 dB, music 0–20 dB)`: how many and which.
    """
    there = set(conditions)
    protocols = [[one for one in of if one in there] for of in ((CLEAN, *NOISY), ALL)]
    return {f"mean of {len(over)} ({_said(over)})": over for over in protocols}


def mean(eer: Mapping[Condition, float], over: Sequence[Condition]) -> float:
    """The mean of equal error rates over conditions, each counted once."""
    return statistics.fmean(eer[one] for one in over)


def of_table(table: pa.Table) -> dict[Condition, float]:
    """The equal error rates of a `Matrix.table`."""
    return {Condition(row["kind"], row["level"]): row["eer"] for row in table.to_pylist()}


def centre(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (of a sample) over seeds; no deviation of a single one."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def grid(systems: Mapping[str, Sequence[Matrix]]) -> list[list[str]]:
    """Rows of a table of EERs in per cent: a heading, a row a condition, then the means; a column a system.

    A system is one matrix, or one a seed: then mean ± standard deviation over the seeds.
    """
    every = [matrix.eer for seeds in systems.values() for matrix in seeds]
    conditions = [one for one in ALL if all(one in eer for eer in every)]
    # The words say which conditions a mean is over: `notes` has all of them.
    summed = [(words.partition(" (")[0], over) for words, over in means(conditions).items()]
    rows = [["condition", *systems]]
    for name, over in [*((one.name, [one]) for one in conditions), *summed]:
        found = [centre([100 * mean(seed.eer, over) for seed in each]) for each in systems.values()]
        rows.append([name, *(f"{eer:.2f}" + ("" if sd is None else f" ± {sd:.2f}") for eer, sd in found)])
    return rows


def notes(systems: Mapping[str, Sequence[Matrix]]) -> list[str]:
    """The lines under a table of `grid`: what its means are over, how fine its figures are, and every protocol."""
    first = next(iter(systems.values()))[0]
    lines = list(means(first.eer))
    counts = counted(first.targets, first.nontargets)
    lines.append(f"EER in %; {counts}: a target trial more or less missed is {100 / first.targets:.2g} points")
    protocols: dict[str, list[str]] = {}
    for name, each in systems.items():
        protocols.setdefault(replace(each[0].protocol, seeds=len(each)).line(), []).append(name)
    return lines + [f"{', '.join(names)}: {line}" for line, names in protocols.items()]


def _said(over: Sequence[Condition]) -> str:
    """`clean, noise 0–20 dB, duration 1–3 s`: a kind once, with its least and its greatest level."""
    parts = []
    for kind, group in groupby(over, key=lambda one: one.kind):
        levels = [one.level for one in group if one.level is not None]
        parts.append(f"{kind} {min(levels):g}–{max(levels):g} {UNITS[kind]}" if levels else kind)
    return ", ".join(parts)
