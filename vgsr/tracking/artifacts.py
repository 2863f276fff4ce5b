"""Files that belong to a run or a model: local folders in and out, wherever MLflow keeps them in between."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from vgsr.home import home
from vgsr.tracking.store import Tracker, TrackingError

# What a run keeps besides its figures, one Parquet file a trial list: every score, and the EERs under disturbances.
SCORES, ROBUSTNESS = "scores", "robustness"
PROTOCOL = "vgsr.protocol."  # tags that say by which protocol the figures `test_LIST_…` were measured


def attach(tracker: Tracker, run_id: str, folder: Path, place: str) -> None:
    """Make the files of a local folder artifacts of a run, under `place`; those of the same name are replaced."""
    tracker.client.log_artifacts(run_id, str(folder), place)


def attached(tracker: Tracker, run_id: str, place: str) -> Path | None:
    """A local folder with the artifacts that a run has under `place`; None when it has none.

    Artifacts that MLflow keeps on this machine are not copied; from elsewhere they are downloaded anew at every call.
    """
    uri = run_uri(tracker, run_id, place)
    here = in_place(uri)
    if here is not None:
        return here if here.is_dir() else None
    names = listed(tracker, uri)
    if not names:
        return None
    target = home() / "fetched" / "runs" / run_id / place
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=target.parent) as scratch:
        download(tracker, uri, names, Path(scratch))
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(scratch) / name, target / name)
    return target


def run_uri(tracker: Tracker, run_id: str, place: str) -> str:
    """Where MLflow keeps what a run has under `place`."""
    return f"{tracker.client.get_run(run_id).info.artifact_uri}/{place}"


def in_place(uri: str) -> Path | None:
    """The path of artifacts on this machine; None when they are elsewhere."""
    return Path(local_file_uri_to_path(uri)) if is_local_uri(uri) else None


def listed(tracker: Tracker, uri: str) -> dict[str, int]:
    """The files under an artifact URI: relative name → size in bytes.

    TrackingError when the store does not answer, or when a name would lead out of a folder that it is copied to.
    """
    with _told(uri):
        found = dict(_walk(get_artifact_repository(uri, tracker.uri, tracker.uri), None))
    for name in found:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise TrackingError(f"{uri}: refused: an artifact in it is called {name!r}, which leads out of its folder")
    return found


def download(tracker: Tracker, uri: str, names: Iterable[str], folder: Path) -> None:
    """Copy files, named as `listed` names them, from an artifact URI into a local folder."""
    with _told(uri):
        repository = get_artifact_repository(uri, tracker.uri, tracker.uri)
        for name in names:
            repository.download_artifacts(name, str(folder))


def _walk(repository: ArtifactRepository, folder: str | None) -> Iterator[tuple[str, int]]:
    for item in repository.list_artifacts(folder):
        if item.is_dir:
            yield from _walk(repository, item.path)
        else:
            yield item.path, int(item.file_size or 0)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Every kind of artifact store (a disk, S3, a server) has errors of its own; ours names the place."""
    try:
        yield
    except Exception as error:
        raise TrackingError(f"{uri}: {error}") from error
