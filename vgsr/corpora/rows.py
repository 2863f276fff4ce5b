"""The rows that readers hand over, and a way to hold a million of them.

In: `Utterance`s and `Face`s as a reader finds them, from a list or a generator. Out: `Columns`, a sequence of them
that is Arrow inside, and makes an object of a row while it is looked at: VoxCeleb2's 1.1 million utterances are 150 MB
instead of a gigabyte.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar, overload

import pyarrow as pa
import pyarrow.compute as pc

from vgsr.data.manifest import Problem
from vgsr.data.tables import FACES, UTTERANCES

PIECE = 1 << 12  # rows that are objects at a time


@dataclass(frozen=True)
class Utterance:
    """One row of the manifest; a reader fills the first four, `scan` and `prepare` the rest.

    start and seconds are in s, sample_rate in Hz, speech_snr and speech_clipping in dB (see `vgsr.data.clipping`),
    speech_dnsmos from 1 to 5; the last three are None where they are not known.
    """

    utterance_id: str
    speaker: str
    session: str
    uri: str
    start: float = 0.0
    seconds: float = 0.0
    sample_rate: int = 0
    split: str = ""
    speech_snr: float | None = None
    speech_clipping: float | None = None
    speech_dnsmos: float | None = None


@dataclass(frozen=True)
class Face:
    """One picture of a speaker; the same session as an utterance means the same recording."""

    face_id: str
    speaker: str
    session: str
    uri: str


T = TypeVar("T", Utterance, Face)
SCHEMAS = {Utterance: UTTERANCES, Face: FACES}


@dataclass(frozen=True, eq=False)
class Columns(Sequence[T]):
    """Rows of one kind, held as a table whose columns are the kind's fields."""

    table: pa.Table
    kind: type[T]

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[T]:
        for batch in self.table.to_batches(PIECE):
            yield from map(self.kind, *(column.to_pylist() for column in batch.columns))

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        places = range(len(self))[place]
        if isinstance(places, int):
            return self.kind(**self.table.slice(places, 1).to_pylist()[0])
        if places.step == 1:
            return Columns(self.table.slice(places.start, len(places)), self.kind)
        return Columns(self.table.take(list(places)), self.kind)

    def column(self, name: str) -> pa.ChunkedArray:
        """One field of all rows."""
        return self.table[name]

    def filled(self, **columns: pa.Array | pa.ChunkedArray) -> "Columns[T]":
        """The rows with other values in some fields."""
        table = self.table
        for name, values in columns.items():
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(place), values)
        return Columns(table, self.kind)

    def where(self, mask: Any) -> "Columns[T]":
        """The rows for which the mask [rows] is true; these themselves where it is for all: a copy costs memory."""
        every = pc.all(mask, skip_nulls=False, min_count=0).as_py()
        return self if every else Columns(self.table.filter(mask), self.kind)

    def ordered(self, *names: str) -> "Columns[T]":
        """The rows sorted by some fields; these themselves where the first field says that they are."""
        first = self.column(names[0])
        if pc.all(pc.less(first[:-1], first[1:]), min_count=0).as_py():
            return self
        return Columns(self.table.sort_by([(name, "ascending") for name in names]).combine_chunks(), self.kind)


Rows = Sequence[Utterance]


def gather(rows: Iterable[T], kind: type[T], problems: list[Problem]) -> Columns[T]:
    """Rows of any number as columns; one whose names are not UTF-8, which no table can hold, becomes a problem."""
    if isinstance(rows, Columns):
        return rows
    schema, source, batches = SCHEMAS[kind], iter(rows), []
    while some := list(islice(source, PIECE)):
        try:
            batches.append(_batch(some, schema))
        except UnicodeEncodeError:
            batches.append(_batch([row for row in some if _is_utf8(row, schema)], schema))
            problems += [misnamed(row.uri, "") for row in some if not _is_utf8(row, schema)]
    whole = pa.Table.from_batches(batches, schema).combine_chunks()
    del batches
    pa.default_memory_pool().release_unused()  # what the pieces took beyond their letters, as much again
    return Columns(whole, kind)


def values(rows: Sequence[T], name: str) -> pa.ChunkedArray:
    """One field of rows that are columns or objects."""
    if isinstance(rows, Columns):
        return rows.column(name)
    return pa.chunked_array([[getattr(row, name) for row in rows]], type=UTTERANCES.field(name).type)


def in_split(rows: Rows, split: str) -> Rows:
    """The utterances of one split."""
    if isinstance(rows, Columns):
        return rows.where(pc.equal(rows.column("split"), split))
    return [row for row in rows if row.split == split]


def printable(name: str) -> str:
    """A name from the file system that can be printed and stored: bytes that are not UTF-8 as `\\xe9`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def misnamed(uri: str, reason: str) -> Problem:
    """The problem with a file whose name does not fit: `reason`, or that it is not UTF-8."""
    shown = printable(uri)
    return Problem(shown, reason if shown == uri else "its name is not UTF-8; rename it")


def _batch(rows: Sequence[T], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _is_utf8(row: T, schema: pa.Schema) -> bool:
    texts = [getattr(row, field.name) for field in schema if field.type == pa.string()]
    return all(text == printable(text) for text in texts if text is not None)
