"""The champion: of the completed runs the best, and the model that it is registered as."""

import re
import tempfile
from pathlib import Path

from mlflow.exceptions import MlflowException

from vgsr.tracking.artifacts import attach, run_uri
from vgsr.tracking.finding import TrackedRun, tracked
from vgsr.tracking.runs import COMPLETED
from vgsr.tracking.store import Tracker, TrackingError, tagged

MODEL = "vgsr"
CHAMPION = "champion"
PLACE = "model"  # where a promoted run keeps it


def best(tracker: Tracker, search: str | None = None) -> TrackedRun:
    """The completed run with the lowest validation EER, of one search or of all.

    TrackingError when there is none, or when the runs were validated on different trial lists: those cannot be ranked.
    """
    wanted = {"vgsr.state": COMPLETED, **({"vgsr.search": search} if search else {})}
    runs = [
        run for run in map(tracked, tagged(tracker, wanted)) if "vgsr.checkpoint" in run.tags and not run.is_control
    ]
    if not runs:
        raise TrackingError(f"no completed run{f' of search {search!r}' if search else ''} in {tracker.shown}")
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

    The version is a model that MLflow serves (see `served.py`), kept among the run's artifacts with the checkpoint in
    it. Promoting the same run twice makes no second version.
    """
    for version in tracker.client.search_model_versions(f"name = '{MODEL}'"):
        if version.run_id == run.run_id and str(version.source).endswith(f"/{PLACE}"):
            tracker.client.set_registered_model_alias(MODEL, CHAMPION, version.version)
            return str(version.version)
    from vgsr.tracking import served  # brings torch: reading runs must not wait for it

    with tempfile.TemporaryDirectory(prefix="vgsr-model-") as scratch:
        served.save(checkpoint, Path(scratch) / "model")
        attach(tracker, run.run_id, Path(scratch) / "model", PLACE)
    try:
        tracker.client.create_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {"val_eer": f"{run.best_val_eer:.6f}", "search": run.tags["vgsr.search"]}
    made = tracker.client.create_model_version(MODEL, run_uri(tracker, run.run_id, PLACE), run.run_id, tags=tags)
    tracker.client.set_registered_model_alias(MODEL, CHAMPION, made.version)
    return str(made.version)


def registered(tracker: Tracker, place: str) -> str:
    """The artifact URI of a registered model, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    TrackingError when it is called otherwise, or when there is none.
    """
    named = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", place)
    if named is None:
        raise TrackingError(f"a registered model is called models:/NAME@ALIAS or models:/NAME/VERSION, not {place}")
    name, alias, number = named.groups()
    try:
        version = number or tracker.client.get_model_version_by_alias(name, alias).version
        return str(tracker.client.get_model_version_download_uri(name, version))
    except MlflowException as error:
        raise TrackingError(
            f"no model {place} in {tracker.shown} ({error.message.rstrip('.')}); "
            f"`vgsr best` registers the best run as models:/{MODEL}@{CHAMPION}"
        ) from error
