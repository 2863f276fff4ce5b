"""Files of this machine, with the errors of `StorageError`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from vgsr.storage import whole
from vgsr.storage.place import Entry, StorageError


@contextmanager
def told(place: Path, verb: str) -> Iterator[None]:
    """What the operating system has against it, as a StorageError that names the place."""
    try:
        yield
    except OSError as error:
        named = Path(error.filename) if isinstance(error.filename, str) else place
        other = "" if named == place or whole.is_staging(named) else f": {named}"
        raise StorageError(f"{place}: not {verb}: {error.strerror or error}{other}") from error
    except ValueError as error:
        if "null" not in str(error):  # a byte 0 in its name
            raise
        raise StorageError(f"{str(place)!r}: not {verb}: {error}") from error


def stat(path: Path) -> Entry | None:
    """Size and time of change of a file; None where there is none. StorageError for a pipe or a device.

    Those have no end, or no beginning: whoever reads one waits, or fills the memory.
    """
    with told(path, "read"):
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
    if S_ISDIR(found.st_mode):
        return None
    if not S_ISREG(found.st_mode):
        raise StorageError(f"{path}: not read: a pipe or a device, not a file")
    return Entry(found.st_size, str(found.st_mtime_ns))


def listing(folder: Path) -> dict[str, Entry]:
    """The files under a folder: relative name → entry, sorted; empty where there is none."""
    found = {}
    with told(folder, "listed"):
        for at, _, names in os.walk(folder, onerror=_unless_missing):
            for name in names:
                path = Path(at, name)
                entry = None if whole.is_staging(path) else stat(path)
                if entry is not None:  # else it was removed a moment ago
                    found[path.relative_to(folder).as_posix()] = entry
    return dict(sorted(found.items()))


def names(folder: Path) -> list[str]:
    """What lies directly in a folder, sorted."""
    with told(folder, "listed"), suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path.name for path in folder.iterdir() if not whole.is_staging(path))
    return []


def read_bytes(path: Path, start: int, length: int | None) -> bytes:
    """The whole content, or at most `length` bytes from `start`."""
    stat(path)
    with told(path, "read"), path.open("rb") as file:
        file.seek(start)
        return file.read() if length is None else file.read(length)


def delete(path: Path) -> None:
    """Remove a file; nothing happens where there is none."""
    with told(path, "deleted"), suppress(FileNotFoundError, NotADirectoryError):
        if not path.is_dir():
            path.unlink()


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
