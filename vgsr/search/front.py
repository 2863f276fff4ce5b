"""The trials that a search is about in the end: those that no other one beats in every figure."""

from collections.abc import Sequence

from vgsr import tracking
from vgsr.tracking import TrackedRun


def front(runs: Sequence[TrackedRun], metrics: Sequence[str]) -> list[TrackedRun]:
    """The Pareto front of the completed runs, every figure of `metrics` to be small; equal runs are all on it.

    A control is never on it, however good: it is there to be compared with, not to be chosen.
    """
    candidates = [run for run in runs if run.state == tracking.COMPLETED and not run.is_control]
    points = [_point(run, metrics) for run in candidates]
    return [run for run, point in zip(candidates, points, strict=True) if not any(_beats(o, point) for o in points)]


def winner(runs: Sequence[TrackedRun], metrics: Sequence[str]) -> TrackedRun | None:
    """Of the front, the run with the lowest first figure, then the lowest second…; None when the front is empty."""
    return min(front(runs, metrics), key=lambda run: _point(run, metrics), default=None)


def _point(run: TrackedRun, metrics: Sequence[str]) -> tuple[float, ...]:
    return tuple(run.figures.get(metric, 1.0) for metric in metrics)  # 1, the worst EER, where it was lost


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
