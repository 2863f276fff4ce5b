"""Reading runs: one, a search's, or those that a user's words select; with their figures and how these went."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from vgsr.config import nearest
from vgsr.tracking.runs import COMPLETED, PARENT, PARENT_TRIAL, RUNNING, address
from vgsr.tracking.store import Tracker, TrackingError, tagged

SINGLE = "single"  # and a training of its own


@dataclass(frozen=True)
class TrackedRun:
    """A run as the leaderboard needs it. Figures are in their own units, EER in [0, 1].

    seconds: from its start to its end, or until now. started, last_sign: Unix seconds; the latter of its start, its
    end, or the latest figure that it logged.
    """

    run_id: str
    name: str
    state: str
    tags: dict[str, str]
    params: dict[str, str]
    figures: dict[str, float]
    seconds: float
    started: float = 0.0
    last_sign: float = 0.0

    @property
    def best_val_eer(self) -> float:
        """The run's best validation EER; 1, the worst, before its first epoch has ended."""
        return self.figures.get("best_val_eer", 1.0)

    @property
    def is_control(self) -> bool:
        """Whether its faces say nothing about its speakers: a figure to compare with, never a result."""
        return self.tags.get("vgsr.control", "none") != "none"

    @property
    def arm(self) -> str:
        """What the runs that differ from it by their seed alone are called: its reference's name, else its trial id."""
        return self.tags.get("vgsr.reference") or self.tags.get("vgsr.trial", self.name)

    @property
    def stage(self) -> str:
        """The stage of a search that it belongs to; empty for any other run."""
        return self.tags.get("vgsr.stage", "")

    @property
    def seed(self) -> int:
        """The seed of its experiment."""
        return int(self.params["seed"])

    @property
    def distillations(self) -> list[dict[str, str]]:
        """The settings of each of its distillations, like `margin.value`; empty without a teacher."""
        several = (key.removesuffix("method") for key in self.params if re.fullmatch(r"distill\.\d+\.method", key))
        found = [
            {key.removeprefix(prefix): value for key, value in self.params.items() if key.startswith(prefix)}
            for prefix in sorted(several) or ["distill."]
        ]
        return [one for one in found if one.get("method", "none") != "none"]


def marked(name: str, control: str) -> str:
    """A run's name as it is shown: that of a control (`teacher.control`) cannot be mistaken for a result's."""
    return name if control == "none" else f"{name} [control: {control}]"


def search_run(tracker: Tracker, search: str) -> str | None:
    """The parent run of a search, or None when it never started."""
    found = next(tagged(tracker, address(search, "")), None)
    return found.info.run_id if found else None


def searches(tracker: Tracker) -> list[TrackedRun]:
    """The searches' own runs, the latest first."""
    return list(map(tracked, tagged(tracker, {"vgsr.trial": PARENT_TRIAL})))


def singles(tracker: Tracker) -> list[TrackedRun]:
    """The trainings that belong to no search, the latest first."""
    return list(map(tracked, tagged(tracker, {"vgsr.trial": SINGLE})))


def state(tracker: Tracker, run_id: str) -> str:
    """`running`, `completed`, `pruned` or `failed`."""
    return tracker.client.get_run(run_id).data.tags.get("vgsr.state", RUNNING)


def trials(tracker: Tracker, parent: str) -> list[TrackedRun]:
    """All child runs of a search, best validation EER first."""
    return sorted(map(tracked, tagged(tracker, {PARENT: parent})), key=lambda run: run.best_val_eer)


def select(tracker: Tracker, selection: str) -> list[TrackedRun]:
    """The runs that a user's words mean, best validation EER first: RUN_ID, SEARCH or SEARCH/ARM.

    SEARCH means all its completed trials (its parent's RUN_ID means the same). ARM is an arm, a run's name, or a
    pattern like `MKD*` for either, and means completed runs too. TrackingError, with the nearest names, when nothing
    is meant.
    """
    found = _by_id(tracker, selection)
    if found is not None and found.tags.get("vgsr.trial") != PARENT_TRIAL:
        return [found]
    search, _, arm = (found.tags["vgsr.search"], "", "") if found is not None else selection.partition("/")
    runs = [run for run in map(tracked, tagged(tracker, {"vgsr.search": search})) if _is_trial(run)]
    if not runs:
        known = {run.data.tags["vgsr.search"] for run in tagged(tracker, {}) if "vgsr.search" in run.data.tags}
        raise TrackingError(f"no run and no search {search!r} in {tracker.shown}{nearest(search, known)}")
    meant = _meant(runs, arm) if arm else runs
    if not meant:
        names = {run.arm for run in runs} | {run.name for run in runs}
        raise TrackingError(f"no arm or run {arm!r} in search {search!r}{nearest(arm, names)}")
    completed = [run for run in meant if run.state == COMPLETED]
    if not completed:
        states = ", ".join(sorted(f"{run.name}: {run.state}" for run in meant))
        raise TrackingError(f"no run of {selection!r} is completed ({states})")
    return sorted(completed, key=lambda run: run.best_val_eer)


def history(tracker: Tracker, run_id: str, key: str) -> list[tuple[int, float]]:
    """A figure's values as (step, value), by step; of a step that was logged twice the last value."""
    logged = tracker.client.get_metric_history(run_id, key)
    values = {metric.step: metric.value for metric in sorted(logged, key=lambda metric: metric.timestamp)}
    return sorted(values.items())


def tracked(run: Run) -> TrackedRun:
    """An MLflow run as a `TrackedRun`."""
    # A run that was opened again keeps the end it had.
    ended = run.info.end_time if run.info.status != "RUNNING" else None
    end = ended or int(time.time() * 1000)
    logged = (metric.timestamp for metric in run.to_proto().data.metrics)
    return TrackedRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        state=run.data.tags.get("vgsr.state", RUNNING),
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        figures=dict(run.data.metrics),
        seconds=(end - run.info.start_time) / 1000,
        started=run.info.start_time / 1000,
        last_sign=max(run.info.start_time, ended or 0, *logged) / 1000,
    )


def _by_id(tracker: Tracker, name: str) -> TrackedRun | None:
    if not re.fullmatch(r"[0-9a-f]{32}", name):
        return None
    try:
        return tracked(tracker.client.get_run(name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _is_trial(run: TrackedRun) -> bool:
    return run.tags.get("vgsr.trial", PARENT_TRIAL) != PARENT_TRIAL


def _meant(runs: Iterable[TrackedRun], arm: str) -> list[TrackedRun]:
    """Runs of that arm or name; of none is so called, those that the pattern fits (names may have brackets in them)."""
    runs = list(runs)
    exact = [run for run in runs if arm in (run.arm, run.name)]
    return exact or [run for run in runs if fnmatchcase(run.arm, arm) or fnmatchcase(run.name, arm)]
