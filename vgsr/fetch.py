"""Places of finished models: what a user types in, a local checkpoint folder out.

A place is a checkpoint's folder, a run's folder, `s3://bucket/…/checkpoint`, `runs:/RUN_ID`, `models:/NAME@ALIAS`,
`models:/NAME/VERSION`, or SEARCH/ARM of a tracked search. Only the files that a checkpoint has are ever copied, into
`fetched` in the home folder, and none of them is executed.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from vgsr import storage, tracking
from vgsr.home import home
from vgsr.storage import StorageError, without_secrets
from vgsr.tracking import Tracker, TrackingError
from vgsr.training import state

NEEDED = ("checkpoint.json", "experiment.yaml", "speakers.txt", "student.safetensors")
FILES = (*NEEDED, "heads.safetensors", "training.pt")
KEPT_IN = ("model", "checkpoint")  # where a run may have a checkpoint among its artifacts
MOST_TEXT = 1 << 26  # bytes of any file of a checkpoint but its tensors
FORMS = (
    "a place is a checkpoint's folder, a run's folder, s3://BUCKET/PATH, runs:/RUN_ID, models:/NAME@ALIAS, "
    "models:/NAME/VERSION, or SEARCH/ARM of a tracked search"
)


class FetchError(Exception):
    """No checkpoint at a place; the text says where it was looked for."""


def checkpoint(place: str | Path) -> Path:
    """The local checkpoint folder of a finished model, downloaded where it is not on this machine.

    A path that exists is a path, whatever else its name could mean. FetchError, with what was tried.
    """
    said = str(place)
    if said.startswith("s3://"):
        return _from_s3(said)
    if said.startswith(("models:/", "runs:/")):
        try:
            return _from_model(said) if said.startswith("models:/") else _from_run(said)
        except TrackingError as error:
            raise FetchError(f"{said}: {error}") from error
    folder = Path(place).expanduser()
    if folder.exists():
        return _in_folder(folder)
    try:
        return _from_run(said)
    except TrackingError as error:
        raise FetchError(f"{said}: no such folder, and {error}; {FORMS}") from error


def _in_folder(folder: Path) -> Path:
    """The folder itself, or the best checkpoint of the run that it is the folder of."""
    if not folder.is_dir():
        raise FetchError(f"{folder}: a file; name the checkpoint's folder")
    if (folder / "checkpoint.json").is_file():
        return folder
    # A bare run keeps them in `checkpoints`, a run on Ray Train beside its own state.
    kept = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    names = sorted(file.parent.name for file in kept.glob("[0-9]*-[0-9]*/checkpoint.json"))
    if not names:
        raise FetchError(
            f"{folder}: neither a checkpoint (no checkpoint.json in it) nor a run (no checkpoints in {kept})"
        )
    best = state.header(kept / names[-1]).get("row", {}).get("best_checkpoint")
    if best not in names:
        raise FetchError(
            f"{folder}: its best checkpoint, as the latest one has it, is {best or 'none yet'}, which is not there; "
            f"name one of {', '.join(str(kept / name) for name in names)}"
        )
    return kept / best


def _from_run(place: str) -> Path:
    """The checkpoint of the one tracked run that is meant."""
    tracker = tracking.connect_existing()
    runs = tracking.select(tracker, place.removeprefix("runs:/"))
    if len(runs) > 1:
        lines = "".join(f"\n  runs:/{run.run_id}  {run.name}, EER {100 * run.best_val_eer:.2f} %" for run in runs)
        raise FetchError(f"{place} means {len(runs)} runs; name one of them:{lines}")
    run = runs[0]
    written = run.tags.get("vgsr.checkpoint", "")
    if written and Path(written).is_dir():
        return Path(written)
    uris = [tracking.run_uri(tracker, run.run_id, kept) for kept in KEPT_IN]
    for uri in uris:
        found = _among(tracker, uri)
        if found is not None:
            return found
    if written.startswith("s3://"):
        return _from_s3(written)
    tried = ", ".join([*filter(None, [written]), *uris])
    raise FetchError(f"{place}: no checkpoint of run {run.name!r}, which is {run.state}, in {tried}")


def _from_model(place: str) -> Path:
    """The checkpoint in a registered model."""
    tracker = tracking.connect_existing()
    uri = tracking.registered(tracker, place)
    found = _among(tracker, uri)
    if found is None:
        raise FetchError(f"{place}: no checkpoint in {uri}, so this is no model that VGSR has registered")
    return found


def _among(tracker: Tracker, uri: str) -> Path | None:
    """The checkpoint among MLflow's artifacts: used where it lies on this machine, downloaded from elsewhere."""
    sizes = tracking.listed(tracker, uri)
    folders = sorted(PurePosixPath(name).parent for name in sizes if PurePosixPath(name).name == "checkpoint.json")
    if not folders:
        return None
    here = tracking.in_place(uri)
    if here is not None:
        return here / folders[0]
    wanted = {str(folders[0] / file) for file in FILES} & set(sizes)
    _refuse_huge(uri, {PurePosixPath(name).name: sizes[name] for name in wanted})

    def fill(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder.parent) as scratch:
            tracking.download(tracker, uri, wanted, Path(scratch))
            for name in wanted:
                os.replace(Path(scratch) / name, folder / PurePosixPath(name).name)

    return _cached([tracker.uri, uri, {name: sizes[name] for name in wanted}], uri, fill)


def _from_s3(place: str) -> Path:
    try:
        names = storage.names(place)
        if not names:
            raise FetchError(without_secrets(f"{place}: there is nothing of that name in the bucket"))
        if "checkpoint.json" not in names:
            raise FetchError(without_secrets(f"{place}: no checkpoint.json there, only {', '.join(names)}"))
        found = {name: storage.stat(storage.join(place, name)) for name in FILES}
        wanted = {name: entry for name, entry in found.items() if entry is not None}
        _refuse_huge(without_secrets(place), {name: entry.size for name, entry in wanted.items()})

        def fill(folder: Path) -> None:
            for name in wanted:
                storage.get(storage.join(place, name), folder / name)

        facts = [place.rstrip("/"), {name: [entry.size, entry.stamp] for name, entry in wanted.items()}]
        return _cached(facts, without_secrets(place), fill)
    except StorageError as error:
        raise FetchError(str(error)) from None


def _refuse_huge(place: str, sizes: Mapping[str, int]) -> None:
    """FetchError, before anything is downloaded, where a text of the checkpoint is no text that one has."""
    for name, size in sizes.items():
        if not name.endswith((".safetensors", ".pt")) and size > MOST_TEXT:
            raise FetchError(
                f"{place}: refused: {name} has {size:,} bytes; no checkpoint's has more than {MOST_TEXT:,}"
            )


def _cached(facts: object, place: str, fill: Callable[[Path], None]) -> Path:
    """The folder of what these facts say, filled when it is not there yet; whole or not at all."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    target = home() / "fetched" / digest
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=target.parent) as scratch:
            folder = Path(scratch) / "checkpoint"
            folder.mkdir()
            fill(folder)
            missing = [name for name in NEEDED if not (folder / name).is_file()]
            if missing:
                raise FetchError(f"{place}: not a checkpoint, it has no {', '.join(missing)}")
            try:
                os.replace(folder, target)
            except OSError:
                if not target.is_dir():  # else another process was first
                    raise
    return target
