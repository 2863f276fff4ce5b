"""A run's checkpoints in a folder that all nodes reach, on a disk or on S3: the best and the latest are kept.

    PLACE/00003-000000/…     after 3 epochs and 0 batches (`checkpoint_name`); names sort by position

A checkpoint is whole once `MARK` is there, which is written last and removed first; nothing else is ever read. So a run
that is killed at any moment goes on from a whole one, and what it left of another goes with the next that is saved.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from vgsr import storage
from vgsr.storage import Place

MARK = "checkpoint.json"


def save(place: Place, name: str, best: str | None, write: Callable[[Path], None]) -> None:
    """Keep what `write` puts into an empty folder as the checkpoint `name`; of the earlier ones only `best` stays.

    Later ones stay too: a worker that is cut off, and does not know that its run has long gone on elsewhere, must not
    take that one's away.
    """
    with tempfile.TemporaryDirectory(prefix="vgsr-checkpoint-") as scratch:
        write(Path(scratch))
        storage.delete(storage.join(place, name, MARK))
        for file in sorted(Path(scratch).iterdir(), key=lambda file: file.name == MARK):
            storage.put(file, storage.join(place, name, file.name))
    for earlier, files in _all(place).items():
        if earlier < name and earlier != best:
            _remove(place, earlier, files)


def latest(place: Place) -> str | None:
    """The name of the last whole checkpoint."""
    return max((name for name, files in _all(place).items() if MARK in files), default=None)


@contextmanager
def opened(place: Place, name: str) -> Iterator[Path]:
    """The folder of a checkpoint; of one on S3 a copy, for the time of the `with`."""
    if not storage.remote(place):
        yield Path(place) / name
        return
    with tempfile.TemporaryDirectory(prefix="vgsr-checkpoint-") as folder:
        for file in _all(place)[name]:
            storage.get(storage.join(place, name, file), Path(folder, file))
        yield Path(folder)


def _all(place: Place) -> dict[str, list[str]]:
    """Checkpoint → its files, of those that are not whole too."""
    found: dict[str, list[str]] = {}
    for file in storage.listing(place):
        parts = PurePosixPath(file).parts
        if len(parts) == 2 and parts[0][:5].isdigit():
            found.setdefault(parts[0], []).append(parts[1])
    return found


def _remove(place: Place, name: str, files: list[str]) -> None:
    for file in sorted(files, key=lambda file: file != MARK):
        storage.delete(storage.join(place, name, file))
    if not storage.remote(place):  # S3 has no folders
        shutil.rmtree(Path(place) / name, ignore_errors=True)
