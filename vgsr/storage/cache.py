"""This node's copies of objects on S3: made once for all its processes, whole, and no more of them than fit.

What comes in: an object's place, and its size and ETag of the moment. What goes out: a file with exactly that content.
The folder is `$VGSR_CACHE`, or `cache` in the home folder. It is kept under `$VGSR_CACHE_SIZE` (`50GB`), or else under
half of what would be free on its disk without it: before a copy is made, those go that were used longest ago. One
object that is larger than the bound is copied all the same, and goes before the next one. A copy that goes while it is
open stays readable until it is closed; whoever was given a path opens it soon.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from vgsr.home import home
from vgsr.storage.place import Entry, StorageError

PART, OUTGOING, LEDGER = ".part", ".outgoing-", ".used"
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


@dataclass(frozen=True)
class Copy:
    """A file of the cache: its size in bytes, and when it was last used."""

    path: Path
    size: int
    used_ns: int


def folder() -> Path:
    """Where this node keeps its copies."""
    found = Path(os.environ.get("VGSR_CACHE") or home() / "cache").expanduser().absolute()
    found.mkdir(parents=True, exist_ok=True)
    return found


def copy(place: str, entry: Entry, download: Callable[[BinaryIO], None]) -> Path:
    """The copy of this entry, downloaded where this node has none; other processes that want it wait for it.

    A download is written under a name that ends in `.part` and renamed when it is whole. The `.part` has the size of
    the whole from the beginning, which keeps its room, and is locked by its writer: the lock of a killed one is gone,
    and the next who wants the object begins anew.
    """
    file = folder() / _name(place, entry)
    part = file.with_name(file.name + PART)
    while not _use(file):
        with _locked(part, os.O_RDWR | os.O_CREAT) as mine:
            if _is(part, mine):  # else it was renamed or removed while we waited for it
                try:
                    _reserve(mine, entry.size)
                    with os.fdopen(os.dup(mine), "wb") as target:
                        download(target)
                    os.replace(part, file)
                except BaseException:
                    part.unlink(missing_ok=True)
                    raise
    return file


@contextmanager
def outgoing(suffix: str) -> Iterator[Path]:
    """A path in the cache's folder, of this suffix, for a file that is to go to S3; gone afterwards."""
    with ExitStack() as stack:
        with _ledger():  # nobody sweeps between the making and the locking
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=OUTGOING, dir=folder())))
            stack.enter_context(_locked(scratch, os.O_RDONLY))
        yield scratch / f"content{suffix}"


def superfluous(copies: Iterable[Copy], bound: int) -> list[Copy]:
    """Those to remove, the longest unused first, that the others be no larger than the bound together."""
    kept = sorted(copies, key=lambda copy: copy.used_ns)
    total = sum(copy.size for copy in kept)
    gone = []
    for oldest in kept:
        if total <= bound:
            break
        gone.append(oldest)
        total -= oldest.size
    return gone


def room() -> int:
    """Bytes that somebody may keep in the cache at once without losing some again, if others use it little."""
    with _ledger() as ledger:
        return bound(_counted(ledger) or 0) * 9 // 10


def size(text: str) -> int:
    """Bytes of a size such as `50GB`, `256 MB`, `1.5GiB`, `1000000`. StorageError where it is none."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]I?)?B?\s*", text.upper())
    if not found:
        raise StorageError(f"{text!r} is no size; write a number and its unit, such as 50GB or 512MiB")
    return int(float(found[1]) * UNITS[found[2] or ""])


def _name(place: str, entry: Entry) -> str:
    """The name of a copy; it keeps the suffix, by which readers know what is in it."""
    digest = hashlib.sha256(json.dumps([place, entry.size, entry.stamp]).encode()).hexdigest()[:32]
    suffix = PurePosixPath(place).suffix
    return digest + (suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,16}", suffix) and suffix != PART else "")


def _use(file: Path) -> bool:
    """Whether there is this copy; then it has been used now."""
    try:
        os.utime(file, ns=(time.time_ns(), time.time_ns()))  # finer than what the system takes for now
    except FileNotFoundError:
        return False
    return True


def _reserve(part: int, size: int) -> None:
    """Give an open `.part` its final size, and remove what is superfluous beside it."""
    os.truncate(part, 0)
    with _ledger() as ledger:
        # What the folder holds is counted in a file: to look at all of its files each time would take longer than
        # small downloads do. Where it was too much, a tenth more goes than must, so that this does not come each time.
        used = _counted(ledger)
        if used is None or used + size > bound(used):
            used = _make_room(size)
        os.ftruncate(ledger, 0)
        os.pwrite(ledger, str(used + size).encode(), 0)
        os.truncate(part, size)


def _make_room(size: int) -> int:
    """Remove what is superfluous beside a new copy of this size; the bytes that are left."""
    copies, parts = _swept()
    used = parts + sum(copy.size for copy in copies)
    most = bound(used)
    if used + size > most:
        for copy in superfluous(copies, most - most // 10 - size - parts):
            copy.path.unlink(missing_ok=True)
            used -= copy.size
    return used


def _counted(ledger: int) -> int | None:
    """What the folder held at the last count, and what has come since; None where nobody has counted."""
    said = os.pread(ledger, 32, 0)
    return int(said) if said.isdigit() else None


def bound(used: int) -> int:
    """Bytes that the folder may hold, where it holds so many now."""
    said = os.environ.get("VGSR_CACHE_SIZE")
    return size(said) if said else (shutil.disk_usage(folder()).free + used) // 2


def _swept() -> tuple[list[Copy], int]:
    """The copies, and the bytes of those that are being made, after what killed writers have left was removed."""
    copies, parts = [], 0
    for item in os.scandir(folder()):
        path = Path(item.path)
        if item.name == LEDGER:
            continue
        if item.name.endswith(PART) or item.name.startswith(OUTGOING):
            parts += item.stat().st_size if not _abandoned(path) and item.is_file() else 0
        elif item.is_file():
            copies.append(Copy(path, item.stat().st_size, item.stat().st_mtime_ns))
    return copies, parts


def _abandoned(path: Path) -> bool:
    """Whether nobody writes a `.part` or an outgoing folder any more; then it is gone now."""
    with suppress(FileNotFoundError, BlockingIOError), _locked(path, os.O_RDONLY, fcntl.LOCK_NB):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return True
    return False


@contextmanager
def _ledger() -> Iterator[int]:
    """The file that says how much there is, held against all other processes."""
    with _locked(folder() / LEDGER, os.O_RDWR | os.O_CREAT) as ledger:
        yield ledger


@contextmanager
def _locked(path: Path, flags: int, how: int = 0) -> Iterator[int]:
    """A path, opened and locked; the lock ends with the process at the latest. BlockingIOError with LOCK_NB."""
    opened = os.open(path, flags, 0o644)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | how)
        try:
            yield opened
        finally:
            fcntl.flock(opened, fcntl.LOCK_UN)  # a process forked meanwhile has it open as well
    finally:
        os.close(opened)


def _is(path: Path, opened: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False
