"""The index of shards: which bytes of which shard are which stretch of which recording.

On disk, `index.parquet` is a table that anybody can read, sorted by `key` and `start`. In memory it is columns of
numbers, each as narrow as its values allow: about 32 bytes a stretch, and no names. A recording is found by its key, a
64-bit hash of its uri; whoever writes an index makes sure that no two recordings share one.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vgsr.data.shard_files import FOUND
from vgsr.storage import Entry, parquet
from vgsr.storage.small import from_json

INDEX = pa.schema([("key", pa.uint64()), *((f.name, f.type) for f in FOUND), ("shard", pa.int32())])
NUMBERS = [name for name in INDEX.names if name != "uri"]
FORMAT = 1
MOST_CHANNELS = 1024  # as libsndfile has it
NAME = "index.parquet"


class ShardError(Exception):
    """Shards that cannot be made or read; the text says where and what to do."""


@dataclass(frozen=True)
class Index:
    """columns: `[stretches]` of numbers, by the names of INDEX. sizes: bytes of each shard. facts: of the writer."""

    columns: dict[str, np.ndarray]
    sizes: list[int]
    facts: dict[str, str]

    def rows(self, uri: str) -> range:
        """The stretches of a recording, in their order; none where it is not in the shards."""
        keys, wanted = self.columns["key"], np.uint64(key(uri))
        return range(int(keys.searchsorted(wanted, "left")), int(keys.searchsorted(wanted, "right")))

    def value(self, name: str, row: int) -> int:
        """One number of a stretch."""
        return int(self.columns[name][row])


def shard_name(number: int) -> str:
    """The file of a shard."""
    return f"shard-{number:05d}.parquet"


def lacking(index: Index, there: Mapping[str, Entry]) -> list[str]:
    """What is wrong with the shards in a folder: those that are missing or of another size."""
    wrong = []
    for number, size in enumerate(index.sizes):
        entry = there.get(shard_name(number))
        if entry is None or entry.size != size:
            said = "is missing" if entry is None else f"has {entry.size:,} bytes instead of {size:,}"
            wrong.append(f"{shard_name(number)} {said}")
    return wrong


def key(uri: str) -> int:
    """The first 64 bits of BLAKE2b of a uri."""
    return int.from_bytes(hashlib.blake2b(uri.encode(), digest_size=8).digest(), "little")


def write(file: Path, stretches: pa.Table, sizes: Sequence[int], facts: dict[str, str]) -> None:
    """Write the index of stretches (FOUND and `shard`). ShardError for two recordings of one key."""
    names = stretches["uri"].combine_chunks().dictionary_encode()
    keys = np.array([key(uri) for uri in names.dictionary.to_pylist()], np.uint64)
    if len(np.unique(keys)) < len(keys):
        raise ShardError("two recordings have the same key, which happens once in ten million corpora: rename one file")
    table = stretches.append_column("key", pa.array(keys[names.indices.to_numpy()], pa.uint64())).select(INDEX.names)
    table = table.cast(INDEX).sort_by([("key", "ascending"), ("start", "ascending")])
    said = {"format": str(FORMAT), "sizes": json.dumps(list(sizes)), **facts}
    pq.write_table(table.replace_schema_metadata(said), file, compression="zstd")


def read(file: Path) -> Index:
    """The index in a file; ShardError where it is none of ours."""
    try:
        with parquet.opened(file) as source:
            facts = {key.decode(): text.decode() for key, text in (source.schema_arrow.metadata or {}).items()}
            if facts["format"] != str(FORMAT):
                raise ShardError(
                    f"{file}: an index of format {facts['format']}, written by another version of VGSR, which reads "
                    f"format {FORMAT}; make the shards again with `vgsr shard`"
                )
            columns = {name: _narrow(source.read([name], use_threads=False)[name]) for name in NUMBERS}
        pa.default_memory_pool().release_unused()
        sizes = from_json(facts.pop("sizes"))
        _check_places(columns, sizes)
        return Index(columns, sizes, facts)
    except (KeyError, ValueError, TypeError, OSError, pa.ArrowException) as error:
        raise ShardError(f"{file}: damaged index of shards ({error}); make them again with `vgsr shard`") from error


def _check_places(columns: Mapping[str, np.ndarray], sizes: list[int]) -> None:
    """ValueError where a stretch lies in no shard, or past the end of one: so many bytes would be asked for."""
    if not isinstance(sizes, list) or not all(type(size) is int and 0 <= size < 2**62 for size in sizes):
        raise ValueError("the sizes of its shards are no list of numbers")
    shard = columns["shard"].astype(np.int64)
    if len(shard) and shard.max() >= len(sizes):
        raise ValueError(f"a stretch in shard {shard.max()} of {len(sizes)}")
    room = np.array(sizes, np.int64)[shard] - columns["length"].astype(np.int64)
    if len(shard) and (room < columns["offset"].astype(np.int64)).any():
        raise ValueError("a stretch past the end of its shard")
    if len(shard) and not 1 <= columns["channels"].min() <= columns["channels"].max() <= MOST_CHANNELS:
        raise ValueError("a recording without channels, or with too many")


def _narrow(column: pa.ChunkedArray) -> np.ndarray:
    if column.null_count or (len(column) and pc.min(column).as_py() < 0):
        raise ValueError("a number in it is missing or negative")
    top = pc.max(column).as_py() if len(column) else 0
    return column.to_numpy().astype(np.min_scalar_type(top))
