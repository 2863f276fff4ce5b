"""Events kept on disk until they are sent: lines of JSON in a folder that one process at a time writes into.

In: events (dicts). Out: the same events, in order, also those that an earlier process left. The folder holds segments
`0000001.jsonl`, beside each the numbers of its lines that were sent (`0000001.sent`), and `refused.jsonl`, what can
never be sent. A segment goes when all of it is sent, so the folder holds what is left and little more.
"""

import fcntl
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vgsr.tracking.store import TrackingError

SEGMENT = 4_000_000  # bytes after which a new segment begins
REFUSED = "refused.jsonl"

Event = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """Where an event lies: its segment, its line there, the bytes of that line; and what says whose turn it is."""

    segment: int
    line: int
    start: int
    length: int
    kind: str
    search: str
    trial: str


class Journal:
    """The events of one folder. TrackingError when another process writes into it."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder)
        self._unsent: Counter[int] = Counter()  # of each segment, how many events are not sent
        self._sent: dict[int, IO[str]] = {}
        segments = sorted(int(file.stem) for file in self.folder.glob("*.jsonl") if file.stem.isdigit())
        self._segment, self._lines = max(segments, default=0), 0
        self._file: IO[bytes] | None = None
        self.left = [entry for segment in segments for entry in self._load(segment)]

    def append(self, event: Event) -> Entry:
        """Keep an event; it is on the disk when this returns."""
        line = (json.dumps(event, default=_plain) + "\n").encode()
        if self._file is None or self._file.tell() >= SEGMENT:
            self._next_segment()
        assert self._file is not None
        start = self._file.tell()
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._lines += 1
        self._unsent[self._segment] += 1
        return _entry(event, self._segment, self._lines - 1, start, len(line))

    def read(self, entry: Entry) -> Event:
        """An event that was kept."""
        with self._path(entry.segment).open("rb") as file:
            file.seek(entry.start)
            found: Event = json.loads(file.read(entry.length))
        return found

    def sent(self, entry: Entry) -> None:
        """Note that an event need not be sent any more. The note may be lost in a crash: sending twice does no harm."""
        segment = entry.segment
        if segment not in self._sent:
            self._sent[segment] = self._path(segment, "sent").open("a")
        self._sent[segment].write(f"{entry.line}\n")
        self._sent[segment].flush()
        self._unsent[segment] -= 1
        if not self._unsent[segment] and (segment != self._segment or self._full()):
            self._drop(segment)

    def refuse(self, event: Event | str, reason: str) -> None:
        """Put aside what can never be sent, with the reason."""
        with (self.folder / REFUSED).open("a") as file:
            file.write(json.dumps({"reason": reason, "event": event}) + "\n")

    def close(self) -> None:
        """Let another process have the folder; what was sent is removed."""
        for segment in [segment for segment, unsent in self._unsent.items() if not unsent]:
            self._drop(segment)
        for file in (self._file, *self._sent.values(), self._lock):
            if file is not None:
                file.close()

    def _load(self, segment: int) -> list[Entry]:
        """What is left of a segment. A last line without its end was never acknowledged: the process died in it."""
        noted = self._path(segment, "sent")
        sent = {int(line) for line in noted.read_text().split() if line.isdigit()} if noted.exists() else set()
        entries, start = [], 0
        for number, line in enumerate(self._path(segment).read_bytes().splitlines(keepends=True)):
            if number not in sent and line.endswith(b"\n"):
                try:
                    entries.append(_entry(json.loads(line), segment, number, start, len(line)))
                except (ValueError, KeyError, TypeError) as error:
                    self.refuse(line.decode(errors="replace"), f"unreadable line: {error}")
            start += len(line)
        self._unsent[segment] = len(entries)
        if not entries:
            self._drop(segment)
        return entries

    def _next_segment(self) -> None:
        full, self._segment, self._lines = self._segment, self._segment + 1, 0
        if self._file is not None:
            self._file.close()
            if not self._unsent[full]:
                self._drop(full)
        self._file = self._path(self._segment).open("ab")
        directory = os.open(self.folder, os.O_RDONLY)
        os.fsync(directory)  # a file that a power cut takes from its folder is as lost as its lines
        os.close(directory)

    def _full(self) -> bool:
        return self._file is not None and self._file.tell() >= SEGMENT

    def _drop(self, segment: int) -> None:
        if segment == self._segment and self._file is not None:
            self._file.close()
            self._file = None
        if segment in self._sent:
            self._sent.pop(segment).close()
        # Events first: notes without events are nothing, events without notes would be sent again.
        self._path(segment).unlink(missing_ok=True)
        self._path(segment, "sent").unlink(missing_ok=True)
        del self._unsent[segment]

    def _path(self, segment: int, kind: str = "jsonl") -> Path:
        return self.folder / f"{segment:07d}.{kind}"


def _locked(folder: Path) -> IO[str]:
    file = (folder / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise TrackingError(
            f"{folder}: process {owner} is writing this run to MLflow already; wait for it, or end it first"
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _entry(event: Event, segment: int, line: int, start: int, length: int) -> Entry:
    return Entry(segment, line, start, length, event["kind"], event["search"], event["trial"])


def _plain(value: Any) -> Any:
    """A NumPy or Torch scalar as Python's own; what is none of them as text."""
    return value.item() if hasattr(value, "item") else str(value)
