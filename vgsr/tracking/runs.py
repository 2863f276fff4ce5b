"""Writing runs: opened once for each trial, epoch by epoch, closed as completed, pruned or failed."""

import getpass
import shutil
import subprocess
import sys
import time
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from vgsr.config import Experiment
from vgsr.tracking.store import Tracker, tagged

PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"  # what a run's page says of it, Markdown
BATCH = 1000  # metrics MLflow takes in one call
# Numbers of a row that say nothing of the run's course; what is no number (a checkpoint's name, an attempt) says none.
NOT_FIGURES = ("averaged", "batch", "diverged", "epoch", "first_step", "selection", "stalled")
COMPLETED, PRUNED, FAILED, RUNNING = "completed", "pruned", "failed", "running"
ENDED = {COMPLETED: "FINISHED", PRUNED: "KILLED", FAILED: "FAILED"}


def open_run(
    tracker: Tracker, *, search: str, trial: str, name: str, tags: dict[str, str], experiment: Experiment | None
) -> str:
    """The run of (search, trial), made if there is none; `trial` is `""` for the search itself. Returns its id."""
    own = {"vgsr.search": search, "vgsr.trial": trial or "-"}
    found = next(tagged(tracker, own), None)
    if found is not None:
        if found.info.status != "RUNNING":
            tracker.client.update_run(found.info.run_id, status="RUNNING")
        tracker.client.set_tag(found.info.run_id, "vgsr.state", RUNNING)
        return found.info.run_id
    run = tracker.client.create_run(
        tracker.experiment_id, run_name=name, tags={**own, "vgsr.state": RUNNING, **origin(), **tags}
    )
    if experiment is not None:
        params = [Param(key, str(value)) for key, value in experiment.flat().items()]
        tracker.client.log_batch(run.info.run_id, params=params)
        tracker.client.log_text(run.info.run_id, experiment.yaml(), "experiment.yaml")
    return run.info.run_id


def log_row(tracker: Tracker, run_id: str, row: dict[str, Any]) -> None:
    """Log one epoch's figures with the epoch as step, and its steps' with the global batch as step.

    A row that was logged before (a resumed run reports its last one again) is not logged twice; earlier rows that it
    brings along as `history` fill what was lost.
    """
    logged = int(tracker.client.get_run(run_id).data.metrics.get("epoch", 0))
    metrics = row_metrics(row, logged, int(time.time() * 1000))
    for first in range(0, len(metrics), BATCH):
        tracker.client.log_batch(run_id, metrics=metrics[first : first + BATCH])


def row_metrics(row: dict[str, Any], logged: int, now: int) -> list[Metric]:
    """A row, and the history it brings along, as metrics of the time `now` (ms): those of epochs after `logged`."""
    metrics: list[Metric] = []
    for past in [*row.get("history", []), row]:
        if past["epoch"] <= logged:
            continue
        figures = {key: value for key, value in past.items() if isinstance(value, Real) and key not in NOT_FIGURES}
        metrics += [Metric(key, float(value), now, past["epoch"]) for key, value in figures.items()]
        for name, values in past.get("steps", {}).items():
            metrics += [Metric(f"step_{name}", v, now, past["first_step"] + i) for i, v in enumerate(values)]
        # Last, so that an epoch counts as logged only when all of it is.
        metrics.append(Metric("epoch", past["epoch"], now, past["epoch"]))
    return metrics


def log_figures(tracker: Tracker, run_id: str, figures: dict[str, float], step: int = 0) -> None:
    """Log figures that belong to the run as a whole (its test result, the teacher's EER)."""
    now = int(time.time() * 1000)
    tracker.client.log_batch(run_id, metrics=[Metric(key, float(v), now, step) for key, v in figures.items()])


def tag(tracker: Tracker, run_id: str, tags: dict[str, str]) -> None:
    """Set tags of a run."""
    tracker.client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])


def close_run(tracker: Tracker, run_id: str, state: str, reason: str = "") -> None:
    """End a run as `completed`, `pruned` or `failed`."""
    tag(tracker, run_id, {"vgsr.state": state, **({"vgsr.reason": reason[:4000]} if reason else {})})
    tracker.client.set_terminated(run_id, status=ENDED[state])


@cache
def origin() -> dict[str, str]:
    """Who started which script at which commit, as far as it can be known, in MLflow's own tags."""
    tags = {
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
    }
    git = shutil.which("git")
    if git:
        place = Path(__file__).parent
        done = subprocess.run([git, "rev-parse", "HEAD"], cwd=place, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            tags["mlflow.source.git.commit"] = done.stdout.strip()
    return tags


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"
