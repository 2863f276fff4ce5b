"""Reading recordings out of shards (`vgsr shard`): a uri in, the samples that the loose file would give out.

A stretch is one range of bytes of a local file, or of S3, and its checksum is looked at each time. Shards on S3 are
copied to this node, each as it is first needed, where all of them together fit in its cache (`$VGSR_CACHE_SIZE`);
otherwise each stretch is one request. What this module keeps (the index, open files) is a process' own.
"""

import os
import zlib
from functools import cache, lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow.compute as pc

from vgsr import storage
from vgsr.data import audio, shard_index
from vgsr.data.audio import AudioError, AudioInfo
from vgsr.data.shard_index import Index, ShardError, shard_name
from vgsr.storage import parquet

PROBLEMS = "problems.parquet"
OPEN_FILES = 256


def recorded(place: str, uri: str, start: float = 0.0, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """`audio.recorded` from the shards in the folder `place`.

    AudioError for what is not in them, or damaged; ShardError where they are not whole.
    """
    index, rows = _find(place, uri)
    rate, frames = index.value("sample_rate", rows[0]), index.value("frames", rows[0])
    at = min(round(start * rate), frames)
    last = frames if seconds is None else min(at + round(seconds * rate), frames)
    parts = [np.empty((0, index.value("channels", rows[0])), np.float32)]
    for row in rows:
        begin = index.value("start", row)
        end = begin + index.value("samples", row)
        if begin <= at < min(end, last):
            content = _content(place, index, row, uri)
            upto = min(end, last)
            parts.append(audio.decode(content, uri, (at - begin) / rate, (upto - at) / rate)[0])
            at = upto
    if at < last:
        raise AudioError(uri, f"{place} holds only what utterances use of it, and not what comes at {at / rate:.2f} s")
    return np.concatenate(parts), rate


def probe(place: str, uri: str) -> AudioInfo:
    """Length, rate and channels of the whole recording, of which the shards may hold parts. AudioError; ShardError."""
    index, rows = _find(place, uri)
    rate = index.value("sample_rate", rows[0])
    return AudioInfo(index.value("frames", rows[0]) / rate, rate, index.value("channels", rows[0]))


def forget() -> None:
    """Read indices and open files anew: this process has written shards."""
    for kept in (_index, _whole_copies, _opened, _path):
        kept.cache_clear()


def _find(place: str, uri: str) -> tuple[Index, range]:
    index = _index(place)
    rows = index.rows(uri)
    if not rows:
        problems = parquet.table(storage.local(storage.join(place, PROBLEMS)), ["uri", "reason"])
        said = problems.filter(pc.equal(problems["uri"], uri))["reason"].to_pylist()
        raise AudioError(uri, said[0] if said else f"not in the shards in {place}")
    return index, rows


@lru_cache(maxsize=8)
def _index(place: str) -> Index:
    index = shard_index.read(storage.local(storage.join(place, shard_index.NAME)))
    wrong = shard_index.lacking(index, storage.listing(place))
    if wrong:
        raise ShardError(
            f"{place}: {wrong[0]}{f', and {len(wrong) - 1} more' * (len(wrong) > 1)}; copy the folder again, or let "
            "`vgsr shard` make again what it lacks"
        )
    return index


@lru_cache(maxsize=8)
def _whole_copies(place: str) -> bool:
    """Whether shards are read from files of this machine: they are, or there is room for copies of all of them."""
    return not storage.remote(place) or sum(_index(place).sizes) <= storage.room()


def _content(place: str, index: Index, row: int, uri: str) -> bytes:
    shard = storage.join(place, shard_name(index.value("shard", row)))
    offset, length, checksum = (index.value(name, row) for name in ("offset", "length", "crc32"))
    if _whole_copies(place):
        file = _opened(shard)  # held while it is read: another thread may put it out of the cache
        content = os.pread(file.fileno(), length, offset)
        if zlib.crc32(content) == checksum:
            return content
    if storage.remote(place):
        content = storage.read_bytes(shard, offset, length)
        if zlib.crc32(content) == checksum:
            return content
    raise AudioError(
        uri, f"damaged in {shard} (its checksum is another); remove that file and let `vgsr shard` make it again"
    )


@lru_cache(maxsize=OPEN_FILES)
def _opened(shard: str) -> BinaryIO:
    """A shard's file, or its copy; closed when it is neither kept nor read any more. Threads and forks may share it."""
    try:
        return _path(shard).open("rb", buffering=0)
    except FileNotFoundError:  # the copy had to make room for others
        _path.cache_clear()
        return _path(shard).open("rb", buffering=0)


@cache
def _path(shard: str) -> Path:
    """Asked once: S3 would be asked each time whether the copy is still one of what is there."""
    return storage.local(shard)
