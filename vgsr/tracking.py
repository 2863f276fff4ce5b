"""MLflow: runs, their figures, the champion. The only file that knows it.

A search is a parent run, a trial a child run, a single training a run of its own. Runs are found again by their tags
(`vgsr.search`, `vgsr.trial`), so a restarted search goes on with the runs it had. Epochs are the steps of epoch
figures; the global batch number is the step of `step_*` figures.
"""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from vgsr.config import Experiment
from vgsr.home import home

PARENT = "mlflow.parentRunId"
MODEL = "vgsr"
CHAMPION = "champion"
BATCH = 1000  # metrics MLflow takes in one call
NOT_FIGURES = ("epoch", "batch", "steps", "history", "first_step", "selection", "best_checkpoint", "diverged")
COMPLETED, PRUNED, FAILED, RUNNING = "completed", "pruned", "failed", "running"
ENDED = {COMPLETED: "FINISHED", PRUNED: "KILLED", FAILED: "FAILED"}


class TrackingError(Exception):
    """MLflow cannot do what was asked; the text says what is missing."""


@dataclass(frozen=True)
class Tracker:
    """One MLflow experiment on one server or database."""

    uri: str
    client: MlflowClient
    experiment_id: str


@dataclass(frozen=True)
class TrackedRun:
    """A run as the leaderboard needs it. Figures are in their own units, EER in [0, 1]."""

    run_id: str
    name: str
    state: str
    tags: dict[str, str]
    params: dict[str, str]
    figures: dict[str, float]
    seconds: float

    @property
    def best_val_eer(self) -> float:
        """The run's best validation EER; 1, the worst, before its first epoch has ended."""
        return self.figures.get("best_val_eer", 1.0)

    @property
    def is_control(self) -> bool:
        """Whether its faces say nothing about its speakers: a figure to compare with, never a result."""
        return self.tags.get("vgsr.control", "none") != "none"


def marked(name: str, control: str) -> str:
    """A run's name as it is shown: that of a control (`teacher.control`) cannot be mistaken for a result's."""
    return name if control == "none" else f"{name} [control: {control}]"


def default_uri() -> str:
    """`$MLFLOW_TRACKING_URI`, or a SQLite file in the home folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def connect(uri: str | None = None, experiment: str = "vgsr") -> Tracker:
    """Open the tracking store (making its schema once, before anything concurrent) and the experiment in it."""
    uri = uri or default_uri()
    for chatty in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    artifacts = None
    if uri.startswith("sqlite:///"):
        file = Path(uri.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True)
        artifacts = (file.parent / "artifacts").as_uri()
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    if found:
        return Tracker(uri, client, found.experiment_id)
    kind = {"mlflow.experimentKind": "custom_model_development"}  # opens the UI on runs, not on chat traces
    experiment_id = client.create_experiment(experiment, artifacts, kind)
    return Tracker(uri, client, experiment_id)


def open_run(
    tracker: Tracker, *, search: str, trial: str, name: str, tags: dict[str, str], experiment: Experiment | None
) -> str:
    """The run of (search, trial), made if there is none; `trial` is `""` for the search itself. Returns its id."""
    own = {"vgsr.search": search, "vgsr.trial": trial or "-"}
    found = _find(tracker, own)
    if found is not None:
        if found.info.status != "RUNNING":
            tracker.client.update_run(found.info.run_id, status="RUNNING")
        tracker.client.set_tag(found.info.run_id, "vgsr.state", RUNNING)
        return found.info.run_id
    run = tracker.client.create_run(
        tracker.experiment_id, run_name=name, tags={**own, "vgsr.state": RUNNING, **_origin(), **tags}
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
    logged = tracker.client.get_run(run_id).data.metrics.get("epoch", 0)
    now = int(time.time() * 1000)
    metrics: list[Metric] = []
    for past in [*row.get("history", []), row]:
        if past["epoch"] <= logged:
            continue
        figures = {key: value for key, value in past.items() if key not in NOT_FIGURES}
        metrics += [Metric(key, float(value), now, past["epoch"]) for key, value in figures.items()]
        for name, values in past.get("steps", {}).items():
            metrics += [Metric(f"step_{name}", v, now, past["first_step"] + i) for i, v in enumerate(values)]
        # Last, so that an epoch counts as logged only when all of it is.
        metrics.append(Metric("epoch", past["epoch"], now, past["epoch"]))
    for first in range(0, len(metrics), BATCH):
        tracker.client.log_batch(run_id, metrics=metrics[first : first + BATCH])


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


def search_run(tracker: Tracker, search: str) -> str | None:
    """The parent run of a search, or None when it never started."""
    found = _find(tracker, {"vgsr.search": search, "vgsr.trial": "-"})
    return found.info.run_id if found else None


def state(tracker: Tracker, run_id: str) -> str:
    """`running`, `completed`, `pruned` or `failed`."""
    return tracker.client.get_run(run_id).data.tags.get("vgsr.state", RUNNING)


def trials(tracker: Tracker, parent: str) -> list[TrackedRun]:
    """All child runs of a search, best validation EER first."""
    return sorted(_runs(tracker, f"tags.`{PARENT}` = '{parent}'"), key=lambda run: run.best_val_eer)


def best(tracker: Tracker, search: str | None = None) -> TrackedRun:
    """The completed run with the lowest validation EER, of one search or of all.

    TrackingError when there is none, or when the runs were validated on different trial lists: those cannot be ranked.
    """
    clause = f" and tags.`vgsr.search` = '{search}'" if search else ""
    runs = [
        run
        for run in _runs(tracker, f"tags.`vgsr.state` = '{COMPLETED}'{clause}")
        if "vgsr.checkpoint" in run.tags and not run.is_control
    ]
    if not runs:
        raise TrackingError(f"no completed run{f' of search {search!r}' if search else ''} in {tracker.uri}")
    lists = {run.tags.get("vgsr.data", "") for run in runs}
    if len(lists) > 1:
        searches = ", ".join(sorted({run.tags["vgsr.search"] for run in runs}))
        raise TrackingError(
            f"the completed runs were validated on {len(lists)} different corpora and cannot be ranked; "
            f"name one search: {searches}"
        )
    return min(runs, key=lambda run: run.best_val_eer)


def promote(tracker: Tracker, run: TrackedRun, checkpoint: Path) -> str:
    """Register the run's checkpoint as the model `vgsr` with alias `champion`; returns the version.

    The checkpoint's files become artifacts of the run; promoting the same run twice makes no second version.
    """
    for version in _versions(tracker):
        if version.run_id == run.run_id:
            tracker.client.set_registered_model_alias(MODEL, CHAMPION, version.version)
            return str(version.version)
    tracker.client.log_artifacts(run.run_id, str(checkpoint), "checkpoint")
    try:
        tracker.client.create_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{tracker.client.get_run(run.run_id).info.artifact_uri}/checkpoint"
    made = tracker.client.create_model_version(
        MODEL, source, run.run_id, tags={"val_eer": f"{run.best_val_eer:.6f}", "search": run.tags["vgsr.search"]}
    )
    tracker.client.set_registered_model_alias(MODEL, CHAMPION, made.version)
    return str(made.version)


def _origin() -> dict[str, str]:
    """Who started which script at which commit, as far as it can be known, in MLflow's own tags."""
    tags = {
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
        "mlflow.user": os.environ.get("USER", "unknown"),
    }
    git = shutil.which("git")
    if git:
        place = Path(__file__).parent
        done = subprocess.run([git, "rev-parse", "HEAD"], cwd=place, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            tags["mlflow.source.git.commit"] = done.stdout.strip()
    return tags


def _find(tracker: Tracker, tags: dict[str, str]) -> Run | None:
    clause = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    found = tracker.client.search_runs([tracker.experiment_id], clause, max_results=1)
    return found[0] if found else None


def _runs(tracker: Tracker, clause: str) -> Iterable[TrackedRun]:
    token = None
    while True:
        page = tracker.client.search_runs([tracker.experiment_id], clause, max_results=1000, page_token=token)
        yield from map(_tracked, page)
        token = page.token
        if not token:
            return


def _tracked(run: Run) -> TrackedRun:
    end = run.info.end_time or int(time.time() * 1000)
    return TrackedRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        state=run.data.tags.get("vgsr.state", RUNNING),
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        figures=dict(run.data.metrics),
        seconds=(end - run.info.start_time) / 1000,
    )


def _versions(tracker: Tracker) -> list[Any]:
    return list(tracker.client.search_model_versions(f"name = '{MODEL}'"))
