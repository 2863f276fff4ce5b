"""The calls by which everything else reads and writes places; each goes to the disk or to S3."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from types import ModuleType

from pyarrow import fs

from vgsr.storage import cache, disk, whole
from vgsr.storage.place import Entry, Place, StorageError, remote


def stat(place: Place) -> Entry | None:
    """Size and stamp of a file; None where there is certainly none."""
    return _s3().stat(str(place)) if remote(place) else disk.stat(Path(place))


def listing(place: Place) -> dict[str, Entry]:
    """The files under a folder, however deep: relative name → entry, sorted; empty where there is none.

    Files that are being written, or were when their writer was killed, are not among them.
    """
    return _s3().listing(str(place)) if remote(place) else disk.listing(Path(place))


def names(place: Place) -> list[str]:
    """What lies directly under a folder, files and folders, sorted; of S3 the first thousand at most."""
    return _s3().names(str(place)) if remote(place) else disk.names(Path(place))


def read_bytes(place: Place, start: int = 0, length: int | None = None) -> bytes:
    """The whole content, or exactly `length` bytes from `start`. StorageError where it is missing or shorter.

    One request a call, over connections that are kept open; several threads may read at once.
    """
    if remote(place):
        content: bytes = _s3().read_bytes(str(place), start, length)
    else:
        content = disk.read_bytes(Path(place), start, length)
    if length is not None and len(content) < length:
        ended = f"ends after {start + len(content)} bytes" if content else f"has no byte {start}"
        raise StorageError(f"{place}: it {ended}, {start + length} were expected")
    return content


def local(place: Place) -> Path:
    """A whole copy of a file on this machine: the file itself, or one in this node's cache, of what is there now."""
    if not remote(place):
        _entry(place)
        return Path(place)
    s3, text = _s3(), str(place)
    for last in (False, False, True):
        entry = _entry(place)
        try:
            return cache.copy(text, entry, partial(s3.download, text, entry))
        except s3.ChangedError:
            if last:
                raise
    raise AssertionError("not reached")


def get(place: Place, file: Path) -> None:
    """Copy a place to a local file, past the cache; whole or not at all."""
    with disk.told(file, "written"), whole.written(file) as target:
        if remote(place):
            with target.open("wb") as opened:
                _s3().download(str(place), _entry(place), opened)
        else:
            _entry(place)
            shutil.copyfile(place, target)


def put(file: Path, place: Place) -> None:
    """Copy a local file to a place, whole or not at all."""
    _entry(file)
    if remote(place):
        _s3().upload(file, str(place))
    else:
        with written(place) as target:
            shutil.copyfile(file, target)


def put_bytes(content: bytes, place: Place) -> None:
    """Write a content to a place, whole or not at all."""
    if remote(place):
        _s3().put_bytes(content, str(place))
    else:
        with written(place) as target:
            target.write_bytes(content)


def delete(place: Place) -> None:
    """Remove a file; nothing happens where there is none. What lies under a folder is left alone."""
    if remote(place):
        _s3().delete(str(place))
    else:
        disk.delete(Path(place))


@contextmanager
def written(place: Place) -> Iterator[Path]:
    """A local path to write to; what is there at the end becomes the content of the place, if nothing was raised."""
    if remote(place):
        with cache.outgoing(PurePosixPath(str(place)).suffix) as path:
            yield path
            put(path, place)
    else:
        with disk.told(Path(place), "written"), whole.written(Path(place)) as path:
            yield path


def filesystem(place: Place) -> tuple[fs.FileSystem, str]:
    """A file system of pyarrow and the path of a place in it, for Ray and for whoever reads with pyarrow.

    On S3 it has our patience and our time-outs, and keeps them where it is pickled.
    """
    if not remote(place):
        return fs.LocalFileSystem(), str(Path(place).absolute())
    from vgsr.storage import arrow

    return arrow.filesystem(), str(place).removeprefix("s3://").rstrip("/")


def _entry(place: Place) -> Entry:
    found = stat(place)
    if found is None:
        raise StorageError(f"{place}: there is no such {'object' if remote(place) else 'file'}")
    return found


def _s3() -> ModuleType:
    """Imported at its first use: boto3 takes a while, and most commands never need it."""
    from vgsr.storage import s3

    return s3
