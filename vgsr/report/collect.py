"""MLflow → a benchmark: a search with its runs, gathered into arms, and the files attached to them.

In: a tracker and a search's name. Out: a `Benchmark`, which every table, sentence and plot of a report is made from.
An arm is a set of runs that differ by their seed alone; a searched trial is an arm of its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vgsr import tracking
from vgsr.tracking import ROBUSTNESS, SCORES, TrackedRun, Tracker
from vgsr.tracking.finding import tracked

TESTED = re.compile(r"test_(.+)_eer")


class ReportError(Exception):
    """A report that cannot be made; the text says what to do."""


@dataclass(frozen=True)
class Figure:
    """A figure over the seeds of an arm: mean, and sample standard deviation (None of one seed)."""

    mean: float
    deviation: float | None
    seeds: int

    @classmethod
    def over(cls, values: Sequence[float]) -> "Figure":
        """That of the values of at least one seed."""
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), deviation, len(values))


@dataclass(frozen=True)
class Arm:
    """Runs that differ by their seed alone, by seed."""

    name: str
    runs: tuple[TrackedRun, ...]

    @property
    def searched(self) -> bool:
        """Whether a search chose its settings: its validation figure is then the best of many."""
        return "vgsr.reference" not in self.runs[0].tags

    @property
    def control(self) -> str:
        """`none`, or what the teacher was shown instead of faces: `shuffled`, `random`."""
        return self.runs[0].tags.get("vgsr.control", "none")

    @property
    def completed(self) -> tuple[TrackedRun, ...]:
        """Its completed runs; figures are taken of these alone."""
        return tuple(run for run in self.runs if run.state == tracking.COMPLETED)

    def values(self, key: str) -> dict[int, float]:
        """A figure by seed, of the completed runs that have it."""
        return {run.seed: run.figures[key] for run in self.completed if key in run.figures}

    def figure(self, key: str) -> Figure | None:
        """A figure over the seeds; None where no run has it."""
        values = list(self.values(key).values())
        return Figure.over(values) if values else None


@dataclass(frozen=True)
class Benchmark:
    """A search as a report needs it.

    histories: run id → validation EER as (epoch, value). scores, robustness: run id → list → Parquet file.
    """

    name: str
    search: TrackedRun
    arms: tuple[Arm, ...]
    histories: Mapping[str, list[tuple[int, float]]]
    scores: Mapping[str, Mapping[str, Path]]
    robustness: Mapping[str, Mapping[str, Path]]

    @property
    def runs(self) -> list[TrackedRun]:
        """All runs, arm by arm."""
        return [run for arm in self.arms for run in arm.runs]

    @property
    def finished(self) -> bool:
        """Whether nothing of it is running any more."""
        return self.search.state == tracking.COMPLETED and all(run.state != tracking.RUNNING for run in self.runs)

    @property
    def synthetic(self) -> bool:
        """Whether its corpus was rendered and not recorded."""
        return self.search.tags.get("vgsr.synthetic") == "True"

    @property
    def lists(self) -> list[str]:
        """The trial lists that completed runs were tested on."""
        found = (TESTED.fullmatch(key) for arm in self.arms for run in arm.completed for key in run.figures)
        return sorted({match[1] for match in found if match})

    @property
    def shown(self) -> list[Arm]:
        """The arms that tables and curves are about: completed references, and searched trials that were tested."""
        tested = [f"test_{name}_eer" for name in self.lists]
        return [
            arm
            for arm in self.arms
            if arm.completed
            and (not arm.searched or any(key in run.figures for run in arm.completed for key in tested))
        ]

    def arm(self, name: str) -> Arm | None:
        """The arm of that name."""
        return next((arm for arm in self.arms if arm.name == name), None)


def collect(tracker: Tracker, search: str) -> Benchmark:
    """Read a search. ReportError when it is no search, TrackingError with the nearest names when it is nothing."""
    parent = tracking.search_run(tracker, search)
    if parent is None:
        tracking.select(tracker, search)  # raises, unless it is the name of something else
        raise ReportError(f"{search!r} is not a search: a report is made of a search with its trials, by its name")
    runs = tracking.trials(tracker, parent)
    if not runs:
        raise ReportError(f"search {search!r} has no trials yet: there is nothing to report")
    return Benchmark(
        name=search,
        search=tracked(tracker.client.get_run(parent)),
        arms=_arms(runs),
        histories={run.run_id: tracking.history(tracker, run.run_id, "val_eer") for run in runs},
        scores={run.run_id: _files(tracker, run, SCORES) for run in runs},
        robustness={run.run_id: _files(tracker, run, ROBUSTNESS) for run in runs},
    )


def _arms(runs: list[TrackedRun]) -> tuple[Arm, ...]:
    """References first, then searched trials, the controls of each last; within these, best validation EER first."""
    by_name: dict[str, list[TrackedRun]] = {}
    for run in runs:  # best first
        by_name.setdefault(run.arm, []).append(run)
    arms = [Arm(name, tuple(sorted(own, key=lambda run: run.seed))) for name, own in by_name.items()]
    return tuple(sorted(arms, key=lambda arm: (arm.searched, arm.control != "none")))


def _files(tracker: Tracker, run: TrackedRun, place: str) -> dict[str, Path]:
    """The tables attached to a run under `place`: trial list → file. Only completed runs are reported on."""
    folder = tracking.attached(tracker, run.run_id, place) if run.state == tracking.COMPLETED else None
    return {} if folder is None else {path.stem: path for path in sorted(folder.glob("*.parquet"))}
