"""The folder of a manifest, here or on S3: files are staged on this machine, then put there, and one of them last."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from vgsr import storage
from vgsr.storage import Place


@contextmanager
def staging(place: Place) -> Iterator[Path]:
    """A folder to write to; beside `place` where that is on this machine, so that files can be moved there."""
    beside = None
    if not storage.remote(place):
        beside = Path(place).absolute().parent
        beside.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{PurePosixPath(str(place)).name}.", dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, place: Place, stale: Iterable[str], last: str) -> None:
    """Put the staged files in `place`: without its old `last` and the `stale` ones first, with the new `last` at the
    end, so that whoever finds that one finds all of one version."""
    storage.delete(storage.join(place, last))
    for name in stale:
        storage.delete(storage.join(place, name))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in sorted(files, key=lambda path: path.name == last):
        target = storage.join(place, path.relative_to(folder).as_posix())
        if storage.remote(place):
            storage.put(path, target)
        else:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)


def relative(root: Place, place: Place) -> str:
    """`root`, relative to `place` when it lies inside it, else absolute."""
    if "://" in str(root):
        there, here = str(root).rstrip("/"), str(place).rstrip("/")
        return "." if there == here else there.removeprefix(f"{here}/")
    path = Path(root).absolute()
    if storage.remote(place) or not path.is_relative_to(Path(place).absolute()):
        return str(path)
    return os.path.relpath(path, Path(place).absolute())


def below(place: str, name: str) -> str:
    """A name under a place; `.` is the place itself, and a path from the root of the disk stays one."""
    if storage.remote(place):
        return place if name == "." else name if name.startswith("/") else storage.join(place, name)
    return str(Path(place, name).absolute())
