"""The champion: of the completed runs the best, and the model that it is registered as, with the reason."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow.exceptions import MlflowException

from vgsr.tracking.artifacts import attach, run_uri
from vgsr.tracking.finding import TrackedRun, tracked
from vgsr.tracking.runs import COMPLETED, PARENT
from vgsr.tracking.store import Tracker, TrackingError, tagged

MODEL = "vgsr"
CHAMPION = "champion"
VERDICT = "vgsr.verdict"  # tag of a search: what it found, and why
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


def champion(tracker: Tracker) -> tuple[str, TrackedRun] | None:
    """The champion's version and the run that it came from; None where there is none, or where its run was deleted."""
    try:
        version = tracker.client.get_model_version_by_alias(MODEL, CHAMPION)
        return str(version.version), tracked(tracker.client.get_run(str(version.run_id)))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def promote(
    tracker: Tracker,
    run: TrackedRun,
    checkpoint: Path,
    *,
    reason: str,
    champion: bool,
    tags: Mapping[str, str] | None = None,
) -> str:
    """Register the run's checkpoint as a version of the model `vgsr`; returns the version.

    champion: whether the alias `champion` moves to it. The reason, why or why not, is its description and its tag
    `reason`. The version is a model that MLflow serves (see `served.py`), kept among the run's artifacts with the
    checkpoint in it. The same run never gets a second version: the reason of the one that it has is replaced.
    """
    version = _version(tracker, run) or _registered(tracker, run, checkpoint)
    own = {"reason": reason, "promoted": str(champion).lower(), "search": run.tags["vgsr.search"]}
    for key, value in {**(tags or {}), **own, "val_eer": f"{run.best_val_eer:.6f}"}.items():
        tracker.client.set_model_version_tag(MODEL, version, key, value)
    tracker.client.update_model_version(MODEL, version, reason)
    if champion:  # last: whoever finds the champion finds its reason too
        tracker.client.set_registered_model_alias(MODEL, CHAMPION, version)
    return version


def evidence(tracker: Tracker, run: TrackedRun) -> str:
    """What is known, beyond its validation EER, of a run that a person promotes."""
    parent = run.tags.get(PARENT)
    found = tracker.client.get_run(parent).data.tags.get(VERDICT) if parent else None
    if found is None:
        return "There is no evidence that it is better than without a teacher: no comparison with fresh seeds was made."
    return f"Its search's own verdict, which need not be about this run: {found}"


def _version(tracker: Tracker, run: TrackedRun) -> str | None:
    for version in tracker.client.search_model_versions(f"name = '{MODEL}'"):
        if version.run_id == run.run_id and str(version.source).endswith(f"/{PLACE}"):
            return str(version.version)
    return None


def _registered(tracker: Tracker, run: TrackedRun, checkpoint: Path) -> str:
    from vgsr.tracking import served  # brings torch: reading runs must not wait for it

    with tempfile.TemporaryDirectory(prefix="vgsr-model-") as scratch:
        served.save(checkpoint, Path(scratch) / "model")
        attach(tracker, run.run_id, Path(scratch) / "model", PLACE)
    try:
        tracker.client.create_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = tracker.client.create_model_version(MODEL, run_uri(tracker, run.run_id, PLACE), run.run_id)
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
