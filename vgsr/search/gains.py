"""What an arm of stage 2 gains over another on the test lists: paired bootstraps, as records that can be kept.

In: the completed runs of two arms with their score tables. Out: a `Gain` a list: A/B − 1 of mean EERs, negative where
A errs less.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from vgsr.evaluation import significance
from vgsr.evaluation.common_list import ListError
from vgsr.evaluation.metrics import MetricError
from vgsr.evaluation.significance import SignificanceError
from vgsr.tracking import PROTOCOL, TrackedRun

BETTER, WORSE, NEITHER = "better", "worse", "no difference shown"


@dataclass(frozen=True)
class Arm:
    """An arm's completed runs; scores: trial list → seed → score table. Lists are named as in a run's figures."""

    name: str
    runs: tuple[TrackedRun, ...]
    scores: Mapping[str, Mapping[int, pa.Table]]

    def mean(self, figure: str) -> float:
        """A figure's mean over the seeds that have it; 1, the worst EER, where none has."""
        values = [run.figures[figure] for run in self.runs if figure in run.figures]
        return sum(values) / len(values) if values else 1.0

    @property
    def lists(self) -> list[str]:
        """The lists it was tested on."""
        return sorted(trials for trials, tables in self.scores.items() if tables)

    def protocols(self, trials: str) -> set[str]:
        """By which protocols its figures on a list were measured."""
        return {run.tags[PROTOCOL + trials] for run in self.runs if PROTOCOL + trials in run.tags}


@dataclass(frozen=True)
class Gain:
    """A/B − 1, its 95 % interval, the seeds it rests on. why: in words, why there is none; then the figures are 0."""

    relative: float = 0.0
    low: float = 0.0
    high: float = 0.0
    seeds: int = 0
    why: str = ""
    warnings: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `no difference shown`, or empty where there is no interval."""
        return "" if self.why else BETTER if self.high < 0 else WORSE if self.low > 0 else NEITHER

    def told(self) -> str:
        """It in words."""
        if self.why:
            return f"no interval can be told ({self.why})"
        ends = f"95 % interval {signed(self.low)} to {signed(self.high)} %"
        return f"{self.verdict}, EER {signed(self.relative)} % ({ends})"


def gains(arm: Arm, other: Arm) -> dict[str, Gain]:
    """What `arm` gains over `other` on every list that either was tested on."""
    return {trials: gain(arm, other, trials) for trials in sorted({*arm.lists, *other.lists})}


def gain(arm: Arm, other: Arm, trials: str) -> Gain:
    """What `arm` gains over `other` on a list, from the seeds that both have."""
    a, b = arm.scores.get(trials, {}), other.scores.get(trials, {})
    seeds = sorted({*a} & {*b})
    if not seeds:
        return Gain(why=f"{arm.name} and {other.name} have no tested seed in common")
    if len(arm.protocols(trials) | other.protocols(trials)) > 1:
        return Gain(why="they were measured by different protocols")
    try:
        found = significance.compare([a[seed] for seed in seeds], [b[seed] for seed in seeds], seeds_paired=True)
    except (ListError, MetricError, SignificanceError) as error:
        return Gain(why=str(error))
    return Gain(found.relative, found.low, found.high, len(seeds), "", found.basis.warnings)


def signed(relative: float) -> str:
    """A relative difference in per cent, with its sign."""
    return f"{100 * relative:+.1f}".replace("-", "−")
