"""Error rates and detection costs of a list of verification trials.

In: one score a trial (higher = more alike) and one label a trial (1 same speaker, 0 different speakers).
Out: `Points`, every operating point of the list, and from it `Eer`, `MinDcf`, actual cost and `Det`. One sort is
shared by all of them:

    points = operating_points(scores, labels)
    points.eer().value, points.min_dcf(0.01).value, points.min_dcf(0.05).value

A trial is accepted when its score >= threshold. Trials with the same score are accepted or rejected together,
so the order in which a list is written never changes a figure. Rates are in [0, 1], not per cent.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class MetricError(Exception):
    """Scores, labels or costs from which no figure can be computed."""


@dataclass(frozen=True)
class Eer:
    """Equal error rate: `value` in [0, 1], and a `threshold` in score units (always finite)."""

    value: float
    threshold: float


@dataclass(frozen=True)
class MinDcf:
    """Minimum normalised detection cost in [0, 1] and its threshold: +inf where rejecting all is cheapest."""

    value: float
    threshold: float


@dataclass(frozen=True, eq=False)
class Det:
    """DET curve: probits (quantiles of the standard normal) of miss and false-alarm rates [P], by rising threshold."""

    miss: Floats
    false_alarm: Floats


@dataclass(frozen=True, eq=False)
class Points:
    """Every operating point, by rising threshold: one a distinct score, then the reject-all point at +inf.

    thresholds, miss, false_alarm: [distinct scores + 1]. The first point accepts every trial (miss 0, false
    alarm 1), the last rejects every trial (miss 1, false alarm 0). targets, nontargets: trials of each kind.
    """

    thresholds: Floats
    miss: Floats
    false_alarm: Floats
    targets: int
    nontargets: int

    def eer(self) -> Eer:
        """Where the miss and false-alarm curves cross.

        Linearly interpolated between the two neighbouring operating points (our definition; it is the rate of
        the NIST SRE16 scoring script when no scores are tied). No convex hull is taken.
        The threshold is interpolated in the same proportion; beside the reject-all point, which has no finite
        threshold, it is the highest score.
        """
        # miss - false_alarm rises strictly from -1 to +1. Quotients of counts round correctly, so equal rates
        # compare equal and the crossing is found exactly.
        gap = self.miss - self.false_alarm
        above = int(np.searchsorted(gap, 0.0, side="left"))
        below = above - 1
        share = float(gap[below] / (gap[below] - gap[above]))
        value = (1 - share) * self.miss[below] + share * self.miss[above]
        threshold = self.thresholds[below]
        if np.isfinite(self.thresholds[above]):
            threshold = (1 - share) * threshold + share * self.thresholds[above]
        return Eer(float(value), float(threshold))

    def min_dcf(self, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> MinDcf:
        """Least cost c_miss·p·miss + c_fa·(1 - p)·false_alarm over all points (NIST SRE), normalised.

        Normalised by min(c_miss·p, c_fa·(1 - p)), the cost of the better of accepting all and rejecting all,
        so the value is at most 1. Of equally cheap points the one with the lowest threshold is reported.
        """
        cost = self._costs(p_target, c_miss, c_fa)
        best = int(np.argmin(cost))
        return MinDcf(float(cost[best]), float(self.thresholds[best]))

    def act_dcf(self, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
        """Actual cost (NIST SRE): that of the Bayes threshold, where the scores are natural-logarithm LLRs.

        Normalised as `min_dcf` is, and never below it; it exceeds 1 where the ratios mislead.
        """
        cost = self._costs(p_target, c_miss, c_fa)
        return float(cost[np.searchsorted(self.thresholds, bayes_llr(p_target, c_miss, c_fa), side="left")])

    def det(self) -> Det:
        """The DET curve (Martin et al., Eurospeech 1997), with no more points than it takes to draw it.

        Points inside a straight run, where only one of the two errors changes, are left out. Rates of 0 and 1
        have no finite probit: they are drawn as half a trial and all but half a trial (our definition).
        """
        flat = np.diff(self.miss) == 0
        steep = np.diff(self.false_alarm) == 0
        inside = (flat[1:] & flat[:-1]) | (steep[1:] & steep[:-1])
        kept = np.concatenate([[True], ~inside, [True]])
        return Det(_probit(self.miss[kept], self.targets), _probit(self.false_alarm[kept], self.nontargets))

    def _costs(self, p_target: float, c_miss: float, c_fa: float) -> Floats:
        """Normalised cost of every point."""
        check_costs(p_target, c_miss, c_fa)
        of_miss, of_fa = c_miss * p_target, c_fa * (1 - p_target)
        floor = min(of_miss, of_fa)
        return (of_miss / floor) * self.miss + (of_fa / floor) * self.false_alarm


def operating_points(scores: npt.ArrayLike, labels: npt.ArrayLike) -> Points:
    """All operating points of scores [T] with labels [T]; one sort, shared by every figure taken from them.

    Raises MetricError on empty lists, different lengths, non-finite scores, labels other than 0 and 1, and
    lists without a target or without a non-target.
    """
    values, target = check_trials(scores, labels)
    order = np.argsort(values)
    ranked = values[order]
    # The number of trials rejected at each point: those before the first trial of its score, or all.
    rejected = np.append(np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])), len(ranked))
    targets_below = np.append(0, np.cumsum(target[order], dtype=np.int64))
    missed = targets_below[rejected]
    targets = int(targets_below[-1])
    nontargets = len(ranked) - targets
    return Points(
        thresholds=np.append(ranked[rejected[:-1]], np.inf),
        miss=missed / targets,
        false_alarm=(nontargets - (rejected - missed)) / nontargets,
        targets=targets,
        nontargets=nontargets,
    )


def eer(scores: npt.ArrayLike, labels: npt.ArrayLike) -> Eer:
    """`Points.eer` of scores [T] with labels [T]; for several figures of one list, keep its `Points`."""
    return operating_points(scores, labels).eer()


def min_dcf(
    scores: npt.ArrayLike, labels: npt.ArrayLike, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0
) -> MinDcf:
    """`Points.min_dcf` of scores [T] with labels [T]; for several figures of one list, keep its `Points`."""
    return operating_points(scores, labels).min_dcf(p_target, c_miss, c_fa)


def act_dcf(
    llrs: npt.ArrayLike, labels: npt.ArrayLike, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0
) -> float:
    """`Points.act_dcf` of LLRs [T] with labels [T]; for several figures of one list, keep its `Points`."""
    return operating_points(llrs, labels).act_dcf(p_target, c_miss, c_fa)


def det(scores: npt.ArrayLike, labels: npt.ArrayLike) -> Det:
    """`Points.det` of scores [T] with labels [T]; for several figures of one list, keep its `Points`."""
    return operating_points(scores, labels).det()


def bayes_llr(p_target: float, c_miss: float, c_fa: float) -> float:
    """Log-likelihood ratio at and above which accepting is the cheaper decision: log(c_fa·(1 - p) / (c_miss·p))."""
    return float(np.log(c_fa) + np.log1p(-p_target) - np.log(c_miss) - np.log(p_target))


def check_trials(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Flags]:
    """Scores as float64 [T] and labels as bool [T] (True = same speaker); a MetricError says why not."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise MetricError(f"scores {values.shape}: they must be a flat list, one score a trial")
    target = check_labels(labels, len(values))
    finite = np.isfinite(values)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise MetricError(
            f"{len(bad):,} of {len(values):,} scores are not finite; the first is {values[bad[0]]} "
            f"at trial {bad[0]} (counted from 0)"
        )
    return values, target


def check_labels(labels: npt.ArrayLike, scores: int) -> Flags:
    """Labels of a list of so many scores as bool [T] (True = same speaker); a MetricError says why not."""
    marks = np.asarray(labels)
    if marks.ndim != 1:
        raise MetricError(f"labels {marks.shape}: they must be a flat list, one label a trial")
    if scores != len(marks):
        raise MetricError(f"{scores:,} scores but {len(marks):,} labels: give one label a score, in order")
    if scores == 0:
        raise MetricError("no trials: the score list is empty")
    target = marks if marks.dtype == np.bool_ else marks == 1
    wrong = np.flatnonzero(~(target | (marks == 0)))
    if len(wrong):
        raise MetricError(
            f"{len(wrong):,} labels are neither 1 (same speaker) nor 0 (different speakers); the first is "
            f"{marks[wrong[0]]!r} at trial {wrong[0]} (counted from 0)"
        )
    if target.all() or not target.any():
        kind, absent = ("same", "different") if target.any() else ("different", "same")
        raise MetricError(f"all {scores:,} trials are of {kind} speakers: error rates need {absent}-speaker trials too")
    return target


def check_costs(p_target: float, c_miss: float, c_fa: float) -> None:
    """MetricError unless 0 < p_target < 1 and both costs are positive and finite."""
    if not 0 < p_target < 1:
        raise MetricError(f"p_target is {p_target}: the prior of a same-speaker trial lies between 0 and 1")
    for name, cost in (("c_miss", c_miss), ("c_fa", c_fa)):
        if not 0 < cost < np.inf:
            raise MetricError(f"{name} is {cost}: a cost must be positive and finite")


def _probit(rates: Floats, trials: int) -> Floats:
    half = 0.5 / trials
    return np.asarray(ndtri(np.clip(rates, half, 1 - half)))
