"""Embeddings of other systems: a file in, utterance ids and one embedding an utterance out.

.npz: arrays `ids` and `embeddings`. .parquet: columns `utterance_id` and `embedding` (lists of numbers).
.ark: Kaldi's archive of vectors, as text (`ID  [ 0.1 0.2 ]`) or binary (what Kaldi and WeSpeaker write).
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vgsr.evaluation import rows
from vgsr.storage import parquet

Embeddings = tuple[list[str], npt.NDArray[np.float32]]

# Kaldi's names of vectors, and the type of their elements; each is followed by the byte 4 and the length, int32.
VECTORS: dict[bytes, np.dtype[Any]] = {b"FV ": np.dtype("<f4"), b"DV ": np.dtype("<f8")}
# An id and the space after it, then a binary vector's mark or a text vector.
ENTRY = re.compile(rb"\s*(\S+)[ \t]+(?:(\0B)|\[([^\]]*)\][ \t\r]*(?:\n|$))")


# Embeddings hardly shrink: so many bytes an .npz file may unpack to, and so many more for each of its own.
UNPACKED, UNPACKED_A_BYTE = 1 << 26, 20


class EmbeddingFileError(Exception):
    """A file of embeddings that cannot be read."""


def read_embeddings(path: str | Path) -> Embeddings:
    """The utterance ids [N] of a file and their embeddings, float32 [N, d].

    Raises EmbeddingFileError on another kind of file, ids that are there twice or are not text, and embeddings of
    several lengths. Nothing pickled is loaded.
    """
    path = Path(path)
    readers = {".npz": _npz, ".parquet": _parquet, ".ark": _ark}
    if path.suffix not in readers:
        raise EmbeddingFileError(f"{path}: embeddings are read from files named {', '.join(readers)}")
    if not path.is_file():
        raise EmbeddingFileError(f"{path}: there is no such file")
    try:
        ids, embeddings = readers[path.suffix](path)
    except (OSError, ValueError, BadZipFile, MemoryError, pa.ArrowException) as error:
        said = str(error)[:300]
        raise EmbeddingFileError(f"{path}: cannot be read as embeddings ({said})") from error
    if embeddings.ndim != 2 or len(embeddings) != len(ids):
        raise EmbeddingFileError(f"{path}: embeddings {embeddings.shape} for {len(ids):,} ids: expected one row an id")
    if doubled := rows.twice(rows.names(ids)):
        raise EmbeddingFileError(f"{path}: {len(doubled):,} utterances have several embeddings: {rows.some(doubled)}")
    return ids, embeddings.astype(np.float32, copy=False)


def _npz(path: Path) -> Embeddings:
    _check_sizes(path)
    with np.load(path, allow_pickle=False) as arrays:
        lacking = [name for name in ("ids", "embeddings") if name not in arrays]
        if lacking:
            raise ValueError(f"it lacks the array {', '.join(lacking)}; it has {', '.join(arrays)}")
        ids = arrays["ids"]
        if ids.dtype.kind not in "US" or ids.ndim != 1:
            raise ValueError(f"the array ids {ids.shape} is of {ids.dtype}: expected a flat list of text")
        return np.char.decode(ids).tolist() if ids.dtype.kind == "S" else ids.tolist(), arrays["embeddings"]


def _check_sizes(path: Path) -> None:
    """ValueError where arrays are larger than the file can be believed to hold, or than their own part of it."""
    size = path.stat().st_size
    with ZipFile(path) as archive:
        items = archive.infolist()
        if sum(item.file_size for item in items) > UNPACKED + UNPACKED_A_BYTE * size:
            raise ValueError(f"{size:,} bytes that unpack to more than is believed of embeddings")
        for item in items:
            with archive.open(item) as member:
                version = np.lib.format.read_magic(member)
                header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, kind = header(member)
            if math.prod(shape) * kind.itemsize > item.file_size:
                raise ValueError(f"the array {item.filename[:80]!r} claims {list(shape)} of {kind}, and is not so long")


def _parquet(path: Path) -> Embeddings:
    table = parquet.table(path)
    lacking = [name for name in ("utterance_id", "embedding") if name not in table.column_names]
    if lacking:
        raise ValueError(f"it lacks the column {', '.join(lacking)}; it has {', '.join(table.column_names)}")
    ids = table["utterance_id"].cast(pa.string()).to_pylist()
    if table["utterance_id"].null_count or table["embedding"].null_count:
        raise ValueError("it has an empty cell")
    lists = table["embedding"].cast(pa.list_(pa.float32())).combine_chunks()
    lengths = pc.list_value_length(lists).to_numpy()
    _refuse_lengths(ids, lengths)
    return ids, lists.flatten().to_numpy(zero_copy_only=False).reshape(len(ids), lengths[0])


def _ark(path: Path) -> Embeddings:
    ids, vectors = [], []
    for name, vector in _entries(path.read_bytes()):
        ids.append(name)
        vectors.append(vector)
    _refuse_lengths(ids, np.array([len(vector) for vector in vectors]))
    return ids, np.stack(vectors)


def _entries(data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    at, end = 0, len(data.rstrip())
    while at < end:
        entry = ENTRY.match(data, at)
        if entry is None:
            raise ValueError(f"at byte {at:,} there is no id with a vector behind it")
        name, at = entry[1].decode(), entry.end()
        if entry[2] is None:
            yield name, np.array(entry[3].split(), dtype=np.float32)
            continue
        kind = VECTORS.get(data[at : at + 3])
        if kind is None or data[at + 3 : at + 4] != b"\4":
            raise ValueError(f"{name} is no vector: archives of matrices, or compressed ones, are not read")
        count = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if at + count * kind.itemsize > len(data):
            raise ValueError(f"the vector of {name} ends too early")
        yield name, np.frombuffer(data, kind, count, at)
        at += count * kind.itemsize


def _refuse_lengths(ids: list[str], lengths: npt.NDArray[np.integer]) -> None:
    """ValueError unless there are embeddings, all of one length."""
    if not ids:
        raise ValueError("it has no embedding")
    other = np.flatnonzero(lengths != lengths[0])
    if len(other):
        raise ValueError(
            f"the embedding of {ids[other[0]]} has {lengths[other[0]]} numbers, that of {ids[0]} {lengths[0]}"
        )
