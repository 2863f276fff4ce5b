"""Files of this machine (stub: `s3://` follows)."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vgsr.storage import whole

Place = str | Path


class StorageError(Exception):
    """A place that cannot be read or written; the text names it, without secrets, and says what was tried."""


@dataclass(frozen=True)
class Entry:
    """A file or object: its size in bytes, and a stamp that changes when its content does."""

    size: int
    stamp: str


def remote(place: Place) -> bool:
    """Whether the place is not on this machine."""
    return str(place).startswith("s3://")


def join(place: Place, *names: str) -> str:
    """A place under another."""
    return "/".join([str(place).rstrip("/"), *names])


def stat(place: Place) -> Entry | None:
    """Size and stamp of a file; None where there is none."""
    path = Path(place)
    if not path.is_file():
        return None
    found = path.stat()
    return Entry(found.st_size, str(found.st_mtime_ns))


def listing(place: Place) -> dict[str, Entry]:
    """The files under a folder: relative name → entry, sorted; empty where there is none."""
    root = Path(place)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): stat(path) for path in files}  # type: ignore[misc]


def read_bytes(place: Place, start: int = 0, length: int | None = None) -> bytes:
    """The whole content, or exactly `length` bytes from `start`. StorageError where it is missing or shorter."""
    try:
        with Path(place).open("rb") as file:
            file.seek(start)
            content = file.read() if length is None else file.read(length)
    except OSError as error:
        raise StorageError(f"{place}: {error.strerror or error}") from error
    if length is not None and len(content) < length:
        raise StorageError(f"{place}: ends after {start + len(content)} bytes, {start + length} were expected")
    return content


def local(place: Place) -> Path:
    """A whole copy of a file on this machine: the file itself, or one in this node's cache."""
    return Path(place)


def put(file: Path, place: Place) -> None:
    """Copy a local file to a place, whole or not at all."""
    with written(place) as target:
        shutil.copyfile(file, target)


def put_bytes(content: bytes, place: Place) -> None:
    """Write a content to a place, whole or not at all."""
    with written(place) as target:
        target.write_bytes(content)


def delete(place: Place) -> None:
    """Remove a file; nothing happens where there is none."""
    Path(place).unlink(missing_ok=True)


@contextmanager
def written(place: Place) -> Iterator[Path]:
    """A local path to write to; what is there at the end becomes the content of the place, if nothing was raised."""
    with whole.written(Path(place)) as path:
        yield path
