"""Face embeddings that are drawn a few at a time: rows of a bank's file, read where they lie, or of an array.

In: the Parquet file of a bank. Out: `Vectors`. A million faces of 512 dimensions are 2 GB, of which a worker, and each
of its loader processes, needs a hundred a batch: they stay in the file. What makes that possible is that a bank's
embeddings are written uncompressed, plainly encoded and one page a row group, so that the values of a row group are
one piece of the file (Parquet format, "Encodings: Plain"), and row i has its place in it.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vgsr import storage
from vgsr.storage import Entry, parquet

COLUMN = "embedding"
BLOCK = 1 << 20  # bytes that are read at a time where all are read
GROUP = 1 << 14  # rows of a row group; Arrow begins another page after 20,000


class BankError(Exception):
    """A bank or a file of embeddings that cannot be used; the text says what to mend."""


class Vectors(Protocol):
    """Raw embeddings [n, d] (float32); NaN rows where there is no face."""

    @property
    def dimension(self) -> int: ...

    def __len__(self) -> int: ...

    def take(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some rows `[k, d]`, in their order."""

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows, some at a time: `[m, d]` each."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """The rows of an array `[n, d]`."""

    array: np.ndarray

    @property
    def dimension(self) -> int:
        return int(self.array.shape[1])

    def __len__(self) -> int:
        return len(self.array)

    def take(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """See `Vectors`."""
        return self.array[np.asarray(rows, np.int64)]

    def blocks(self) -> Iterator[np.ndarray]:
        """See `Vectors`."""
        step = max(1, BLOCK // (4 * self.dimension))
        yield from (self.array[first : first + step] for first in range(0, len(self), step))


@dataclass(frozen=True)
class Stored:
    """The rows in the bank `place`. entry: of the file when it was looked at; firsts: the first row of each row group,
    and the number of all; offsets: where in the file the values of each begin. Other processes open it themselves."""

    place: str
    entry: Entry
    dimension: int
    firsts: tuple[int, ...]
    offsets: tuple[int, ...]

    def __len__(self) -> int:
        return self.firsts[-1]

    def take(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """See `Vectors`. BankError where the file is not the one that was looked at."""
        wanted, width = np.asarray(rows, np.int64), 4 * self.dimension
        group = np.searchsorted(self.firsts, wanted, side="right") - 1
        at = np.take(self.offsets, group) + (wanted - np.take(self.firsts, group)) * width
        file = _opened(self.place, self.entry).fileno()
        content = b"".join(os.pread(file, width, place) for place in at.tolist())
        return np.frombuffer(content, "<f4").reshape(-1, self.dimension)

    def blocks(self) -> Iterator[np.ndarray]:
        """See `Vectors`."""
        width, file = 4 * self.dimension, _opened(self.place, self.entry).fileno()
        step = max(1, BLOCK // width)
        for first, end, offset in zip(self.firsts, self.firsts[1:], self.offsets, strict=False):
            for row in range(first, end, step):
                content = os.pread(file, (min(row + step, end) - row) * width, offset + (row - first) * width)
                yield np.frombuffer(content, "<f4").reshape(-1, self.dimension)


def stored(place: str, dimension: int) -> Stored | None:
    """The embeddings of a bank as they lie in its file; None where an older version laid them otherwise."""
    entry, path = storage.stat(place), storage.local(place)
    if entry is None:
        return None
    firsts, offsets = [0], []
    with parquet.opened(path) as source:
        metadata = source.metadata
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = (group.column(place) for place in range(group.num_columns))
        chunk = next(column for column in columns if column.path_in_schema.split(".")[0] == COLUMN)
        size = 4 * dimension * group.num_rows
        plain = chunk.compression == "UNCOMPRESSED" and set(chunk.encodings) == {"PLAIN", "RLE"}
        if not plain or chunk.num_values != dimension * group.num_rows:
            return None
        if _page_size(storage.read_bytes(path, chunk.data_page_offset, 32)) < size:
            return None  # there are several pages, each with a head of its own
        offset = chunk.data_page_offset + chunk.total_compressed_size - size
        if not 0 <= offset <= entry.size - size:
            raise BankError(f"{place}: a damaged teacher bank: embeddings past its end; teach again")
        firsts.append(firsts[-1] + group.num_rows)
        offsets.append(offset)
    return Stored(place, entry, dimension, tuple(firsts), tuple(offsets))


def regrouped(vectors: Vectors) -> Iterator[np.ndarray]:
    """All rows, as many at a time as a row group has."""
    waiting = np.empty((0, vectors.dimension), np.float32)
    for block in vectors.blocks():
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= GROUP:
            yield waiting[:GROUP]
            waiting = waiting[GROUP:]
    if len(waiting):
        yield waiting


def of_lists(column: pa.ChunkedArray, dimension: int) -> np.ndarray:
    """Lists of floats as rows [n, d]; null ones become NaN."""
    lists = column.combine_chunks()
    found = np.full((len(lists), dimension), np.nan, dtype=np.float32)
    valid = lists.is_valid().to_numpy(zero_copy_only=False)
    lengths = pc.min_max(pc.list_value_length(lists.drop_null())).as_py().values() if valid.any() else ()
    if not set(lengths) <= {dimension}:
        raise ValueError(f"embeddings of {' to '.join(map(str, lengths))} numbers, not {dimension}")
    found[valid] = lists.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)
    return found


@lru_cache(maxsize=16)
def _opened(place: str, entry: Entry) -> FileIO:
    file = Path(storage.local(place)).open("rb", buffering=0)  # noqa: SIM115 (until the process ends)
    if storage.stat(place) != entry:
        raise BankError(f"{place}: the teacher bank was written anew while it was in use; start again")
    return file


def _page_size(head: bytes) -> int:
    """Bytes of a page without its head: the third number in it, after its kind and its size before compression.

    In Thrift's compact protocol each is a byte that names the field, then seven bits a byte, the lowest first.
    """
    place, value = 0, 0
    for _ in range(3):
        place, shift, value = place + 1, 0, 0
        while True:
            value |= (head[place] & 0x7F) << shift
            place, shift = place + 1, shift + 7
            if head[place - 1] < 0x80:
                break
    return value >> 1  # zigzag: the lowest bit is the sign
