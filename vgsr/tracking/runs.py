"""What is written of a run: an epoch's figures, those of the run as a whole, where it came from, how it ended."""

import getpass
import shutil
import subprocess
import sys
import time
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, RunTag

from vgsr.tracking.store import Tracker

PARENT = "mlflow.parentRunId"
PARENT_TRIAL = "-"  # what a search's own run has in place of a trial
NOTE = "mlflow.note.content"  # what a run's page says of it, Markdown
BATCH = 1000  # metrics MLflow takes in one call
# Numbers of a row that say nothing of the run's course; what is no number (a checkpoint's name, an attempt) says none.
NOT_FIGURES = ("averaged", "batch", "diverged", "epoch", "first_step", "selection", "stalled")
COMPLETED, PRUNED, FAILED, RUNNING = "completed", "pruned", "failed", "running"
ENDED = {COMPLETED: "FINISHED", PRUNED: "KILLED", FAILED: "FAILED"}


def address(search: str, trial: str) -> dict[str, str]:
    """The tags by which the run of (search, trial) is known; `trial` is `""` for the search itself."""
    return {"vgsr.search": search, "vgsr.trial": trial or PARENT_TRIAL}


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
