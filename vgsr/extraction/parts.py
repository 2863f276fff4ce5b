"""Work over a whole corpus, cut into parts that are there whole or not at all.

In: a `Work`, what is done to every row of a table, and a folder for the finished parts. Out: a file for every part,
whose name tells the rows and all else that its content depends on. So whoever lists the folder knows what is still to
be done, after any kind of death, and a part of another model, or of rows that have changed, is never taken for one.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from vgsr import storage
from vgsr.data.manifest import Manifest
from vgsr.data.tables import content_digest

PART = 64  # rows: what a death costs at most
TRIES = 2  # how often the same part, then the same row of it, may end its process
AHEAD = 64  # finished parts read at once
FATAL = f"ended the process that worked on it, {TRIES} times"

Function = Callable[[pa.Table], pa.Table]


class ExtractionError(Exception):
    """Work that could not be finished; the text says why, and what is kept of it."""


class Work(Protocol):
    """What is done to every row of a table of a manifest. It travels to the actors: files are in it as bytes.

    title: what the rows are; lost: what those without a result are called; key: all that a result depends on beside
    its row; schema: columns of the results, null where `problem` (the last of them) says why there is none.
    """

    @property
    def title(self) -> str: ...
    @property
    def lost(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def schema(self) -> pa.Schema: ...

    def rows(self, manifest: Manifest) -> pa.Table:
        """The rows."""

    def start(self, manifest: Manifest, threads: int, gpu: bool) -> Function:
        """What makes results of rows, one a row, in their order; no result depends on how many rows there are."""


@dataclass(frozen=True)
class Part:
    """Rows start … start + count, and the digest of them and of the work's key."""

    start: int
    count: int
    digest: str

    @property
    def file(self) -> str:
        """Name of the file of its results."""
        return f"part-{self.start:09d}-{self.digest[:32]}.parquet"


@dataclass
class Mark:
    """Lies beside a part while it is worked on: whoever finds one knows that a process died of the part, or in it.

    begun: how often the part was begun; row: the row that was being worked on alone; deaths: of such rows.
    """

    begun: int = 0
    row: int | None = None
    deaths: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """A finished part in numbers: where it starts, its rows, those without a result, and the seconds it took."""

    start: int
    count: int
    lost: int
    seconds: float


def cut(key: str, rows: pa.Table) -> list[Part]:
    """The parts of a table of rows."""
    return [_part(key, rows, start, PART) for start in range(0, len(rows), PART)]


def missing(folder: str, parts: Sequence[Part]) -> list[Part]:
    """The parts that are not yet in the folder."""
    have = storage.listing(folder)
    return [part for part in parts if part.file not in have]


def do(part: Part, key: str, rows: pa.Table, function: Function, schema: pa.Schema, folder: str) -> Summary:
    """Work on one part and write its results into the folder. ExtractionError where `rows` are not what it was cut of.

    A part that has ended its process TRIES times goes through row by row, and so does a row; a row that goes on
    killing is given up, with the reason FATAL. An error in good order, Ctrl-C too, counts as no death.
    """
    if _part(key, rows, part.start, part.count) != part:
        raise ExtractionError("the manifest reads otherwise here than where the work was begun; is it the same one?")
    begun, own, place = time.monotonic(), rows.slice(part.start, part.count), storage.join(folder, f"{part.file}.begun")
    mark = Mark(**json.loads(storage.read_bytes(place))) if storage.stat(place) else Mark()
    if mark.row is not None:
        mark.deaths[str(mark.row)] = mark.deaths.get(str(mark.row), 0) + 1
    mark.begun, mark.row = mark.begun + 1, None
    _put(mark, place)
    try:
        results = function(own) if mark.begun <= TRIES else _one_by_one(own, function, schema, mark, place)
        with storage.written(storage.join(folder, part.file)) as file:
            pq.write_table(results.cast(schema), file)
    finally:
        storage.delete(place)
    return Summary(part.start, part.count, part.count - results["problem"].null_count, time.monotonic() - begun)


def finished(folder: str, parts: Sequence[Part]) -> Iterator[pa.Table]:
    """The results of all parts, in order. ExtractionError for one that is damaged; it is removed."""

    def read(part: Part) -> pa.Table:
        place = storage.join(folder, part.file)
        try:
            return pq.read_table(pa.BufferReader(storage.read_bytes(place)))
        except pa.ArrowException as error:
            storage.delete(place)
            raise ExtractionError(f"{place}: damaged ({error}) and removed; the same command makes it anew") from error

    with ThreadPoolExecutor(8) as pool:
        for first in range(0, len(parts), AHEAD):
            yield from pool.map(read, parts[first : first + AHEAD])


def clear(folder: str) -> None:
    """Remove the folder of finished parts, and whatever unfinished ones left in it."""
    if not storage.remote(folder):
        shutil.rmtree(Path(folder), ignore_errors=True)
        return
    for name in storage.listing(folder):
        storage.delete(storage.join(folder, name))


def _part(key: str, rows: pa.Table, start: int, size: int) -> Part:
    own = rows.slice(start, size)
    return Part(start, len(own), sha256(f"{key}\0{content_digest({'rows': own})}".encode()).hexdigest())


def _one_by_one(rows: pa.Table, function: Function, schema: pa.Schema, mark: Mark, place: str) -> pa.Table:
    found = []
    for row in range(len(rows)):
        if mark.deaths.get(str(row), 0) >= TRIES:
            found.append(pa.Table.from_pylist([{"problem": FATAL}], schema=schema))
            continue
        mark.row = row
        _put(mark, place)
        found.append(function(rows.slice(row, 1)).cast(schema))
    return pa.concat_tables(found)


def _put(mark: Mark, place: str) -> None:
    storage.put_bytes(json.dumps(asdict(mark)).encode(), place)
