"""The EER of a list in which each trial counts a whole number of times, for many such counts at once.

In: the scores of one list by several systems, and how often each trial counts. Out: one EER a system and count. Each
is exactly `metrics.eer` of the list with its trials repeated: operating points lie only between different scores, and
the interpolation is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vgsr.evaluation.metrics import Flags, Floats, operating_points

Integers = npt.NDArray[np.int64]
Weights = npt.NDArray[np.int32]
# The EER is looked for up to this multiple of the unweighted list's, and beyond only where it is not found there: few
# of the trials then have to be gone through, those of the lowest target and the highest non-target scores.
REACH = 3.0


@dataclass(frozen=True, eq=False)
class Ranked:
    """A scored list in the order in which its trials are rejected or accepted.

    targets: trials [targets] by rising score; nontargets: trials [nontargets] by falling score. At operating point p
    the first missed[p] of the targets are rejected and the first accepted[p] of the non-targets accepted; points as in
    `metrics.Points`. eer: that of the list as it is.
    """

    targets: Integers
    nontargets: Integers
    missed: Integers
    accepted: Integers
    eer: float


def rank(scores: npt.ArrayLike, target: Flags) -> Ranked:
    """Scores [T] with target flags [T]; MetricError as in `metrics.operating_points`."""
    points = operating_points(scores, target)
    order = np.argsort(np.asarray(scores, dtype=np.float64))
    return Ranked(
        targets=order[target[order]],
        nontargets=order[~target[order]][::-1],
        missed=np.rint(points.miss * points.targets).astype(np.int64),
        accepted=np.rint(points.false_alarm * points.nontargets).astype(np.int64),
        eer=points.eer().value,
    )


def weighted_eers(systems: Sequence[Ranked], weights: Weights) -> Floats:
    """EER of each system on one list [T] with trial t counted weights[b, t] times: [systems, B].

    NaN where no target or no non-target trial counts.
    """
    totals = np.stack([_sums(weights, trials) for trials in (systems[0].targets, systems[0].nontargets)])
    return np.stack([_eers(ranked, weights, totals) for ranked in systems])


def _eers(ranked: Ranked, weights: Weights, totals: Integers) -> Floats:
    found = np.full(len(weights), np.nan)
    todo = np.flatnonzero((totals > 0).all(axis=0))
    for first, last in (_window(ranked), (0, len(ranked.missed) - 1)):
        if len(todo):
            found[todo] = _crossings(ranked, weights[todo], totals[:, todo], first, last)
            todo = todo[np.isnan(found[todo])]
    return found


def _window(ranked: Ranked) -> tuple[int, int]:
    """The operating points around the list's own EER, from REACH times it as false alarm to REACH times it as miss."""
    targets, nontargets = len(ranked.targets), len(ranked.nontargets)
    reach = min(1.0, max(REACH * ranked.eer, 1 / targets))
    first = int(np.searchsorted(-ranked.accepted, -reach * nontargets, side="right")) - 1
    return first, int(np.searchsorted(ranked.missed, reach * targets, side="left"))


def _crossings(ranked: Ranked, weights: Weights, totals: Integers, first: int, last: int) -> Floats:
    """EER of each row of weights [B, T] whose curves cross between two points of the list; NaN where they do not."""
    missed = _running(weights, ranked.targets[: ranked.missed[last]])
    accepted = _running(weights, ranked.nontargets[: ranked.accepted[first]])
    row = np.arange(len(weights))

    def rates(point: Integers) -> tuple[Floats, Floats]:
        return missed[row, ranked.missed[point]] / totals[0], accepted[row, ranked.accepted[point]] / totals[1]

    # Bisection for the first point where misses are not rarer than false alarms, as both rates are monotone. Quotients
    # of counts round correctly, so equal rates compare equal.
    below, above = np.full(len(row), first), np.full(len(row), last)
    (miss, alarm), (next_miss, next_alarm) = rates(below), rates(above)
    inside = (miss < alarm) & (next_miss >= next_alarm)
    while (above - below > 1).any():
        middle = (below + above) // 2
        miss, alarm = rates(middle)
        before = miss < alarm
        below, above = np.where(before, middle, below), np.where(before, above, middle)
    (miss, alarm), (next_miss, next_alarm) = rates(below), rates(above)
    gap, next_gap = miss - alarm, next_miss - next_alarm
    share = np.divide(gap, gap - next_gap, out=np.zeros(len(row)), where=inside)
    return np.where(inside, (1 - share) * miss + share * next_miss, np.nan)


def _running(weights: Weights, trials: Integers) -> Integers:
    """Sums of the weights of the first 0, 1, … of trials [n], in each row: [B, n + 1]."""
    sums = np.zeros((len(weights), len(trials) + 1), dtype=np.int64)
    np.cumsum(np.take(weights, trials, axis=1), axis=1, dtype=np.int64, out=sums[:, 1:])
    return sums


def _sums(weights: Weights, trials: Integers) -> Integers:
    return np.take(weights, trials, axis=1).sum(axis=1, dtype=np.int64)
