"""What an arm gains over another: relative difference of their mean EERs, its interval, and a verdict in words.

In: two arms of a benchmark and a trial list. Out: a `Gain`. Its interval is that of `vgsr.evaluation.significance` and
needs the score tables of all runs. There, a difference is negative where the arm errs less; a gain is positive there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vgsr.evaluation import score_files, significance
from vgsr.evaluation.common_list import ListError
from vgsr.evaluation.metrics import MetricError
from vgsr.evaluation.score_files import ScoreFileError
from vgsr.evaluation.significance import SignificanceError
from vgsr.report.collect import Arm, Benchmark
from vgsr.report.settings import without_folders

BETTER, WORSE, NEITHER = "better", "worse", "no difference shown"


@dataclass(frozen=True)
class Interval:
    """Of a gain: 95 % from low to high, and the two-sided p of there being none. basis: what it rests on, in words."""

    low: float
    high: float
    p: float
    basis: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gain:
    """1 − arm / other of mean EERs: positive where the arm errs less. interval: or, in words, why there is none."""

    relative: float
    interval: Interval | str

    @property
    def verdict(self) -> str | None:
        """`better`, `worse`, or `no difference shown` when the interval includes 0; None without an interval."""
        if isinstance(self.interval, str):
            return None
        return BETTER if self.interval.low > 0 else WORSE if self.interval.high < 0 else NEITHER

    def told(self, against: str) -> str:
        """It in words: its size, its interval, and whether that says anything."""
        size = f"{100 * abs(self.relative):.1f} %"
        if isinstance(self.interval, str):
            side = f"{size} {BETTER if self.relative > 0 else WORSE} than" if self.relative else "as good as"
            return f"{side} {against} (no interval)"
        ends = f"95 % interval {signed(self.interval.low)} to {signed(self.interval.high)} %"
        if self.verdict == NEITHER:
            return f"{NEITHER} to {against} ({signed(self.relative)} %, {ends})"
        return f"{size} {self.verdict} than {against} ({ends})"


Gains = Callable[[Arm, Arm, str], Gain | None]


def gains(benchmark: Benchmark) -> Gains:
    """A function (arm, other, list) → what `arm` gains over `other` there, computed once.

    None where one of them has no figure there, or the other never errs.
    """
    known: dict[tuple[str, str, str], Gain | None] = {}

    def gain(arm: Arm, other: Arm, trials: str) -> Gain | None:
        key = (arm.name, other.name, trials)
        if key not in known:
            known[key] = _gain(benchmark, arm, other, trials)
        return known[key]

    return gain


def signed(relative: float) -> str:
    """A relative difference in per cent, with its sign."""
    return f"{100 * relative:+.1f}".replace("-", "−")


def p_value(p: float) -> str:
    """A p value with as many digits as mean something."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _gain(benchmark: Benchmark, arm: Arm, other: Arm, trials: str) -> Gain | None:
    key = f"test_{trials}_eer"
    own, theirs = arm.figure(key), other.figure(key)
    if own is None or theirs is None or not theirs.mean:
        return None
    return Gain(1 - own.mean / theirs.mean, _interval(benchmark, arm, other, trials))


def _interval(benchmark: Benchmark, arm: Arm, other: Arm, trials: str) -> Interval | str:
    key = f"test_{trials}_eer"
    a, b = ([run for run in one.completed if key in run.figures] for one in (arm, other))
    if any(trials not in benchmark.scores[run.run_id] for run in [*a, *b]):
        return "score tables are missing"
    paired = [run.seed for run in a] == [run.seed for run in b]
    try:
        scores = [[score_files.read(benchmark.scores[run.run_id][trials]) for run in side] for side in (a, b)]
        found = significance.compare(*scores, seeds_paired=paired)
    except (ListError, MetricError, ScoreFileError, SignificanceError) as error:
        return f"{without_folders(str(error))} (A: {arm.name}, B: {other.name})"
    logged = [run.figures[key] for run in [*a, *b]]
    if not np.allclose([*found.eers_a, *found.eers_b], logged):
        return "its score tables have another EER than MLflow has"
    return Interval(-found.high, -found.low, found.p, found.basis.line(), found.basis.warnings)
