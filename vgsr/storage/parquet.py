"""Parquet files that somebody else may have written: what they claim to hold is looked at before any of it is made.

In: a file on this machine, or its bytes. Out: its tables; long texts are read as dictionaries, and become texts once it
is known how long they are together. A megabyte of Parquet can stand for a terabyte of one text; such a file is refused
by pyarrow's own ArrowInvalid, as a damaged one is, and never decoded. So is one with Arrow's extension types: whoever
registered such a type in this process, as Ray does, has its code run by the file, and Ray's unpickles what it finds.
"""

import base64
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS = 1 << 16  # decoded at a time
LIMITS = {"thrift_string_size_limit": 1 << 24, "thrift_container_size_limit": 1 << 17}
# What a file may stand for (our definition): so much in any case, and so much more for each of its bytes.
VALUES, VALUES_A_BYTE = 1 << 22, 20
BYTES, BYTES_A_BYTE = 1 << 28, 100
TEXT, SHORT = 1 << 20, 1 << 12  # bytes of one text: the longest that is read, and what names and paths have
GROUPS = 1 << 14
EXTENSION = b"ARROW:extension:name"  # a key in the schema of a column
BASE64 = re.compile(rb"[A-Za-z0-9+/]{32,}")


def opened(file: Path | bytes, **options: Any) -> pq.ParquetFile:
    """The file, open; `options` of `pq.ParquetFile`. ArrowInvalid where it claims more than so many bytes can hold."""
    size = len(file) if isinstance(file, bytes) else file.stat().st_size
    source = pa.BufferReader(file) if isinstance(file, bytes) else file
    _refuse_extensions(file, size)
    found = pq.ParquetFile(source, pre_buffer=False, arrow_extensions_enabled=False, **LIMITS, **options)
    try:
        _check_claims(found.metadata, size)
    except BaseException:
        found.close()
        raise
    return found


def table(file: Path | bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The whole file, or those columns of it, with its metadata."""
    with opened(file) as source:
        schema = source.schema_arrow
    names = schema.names if columns is None else list(columns)
    lacking = [name for name in names if name not in schema.names]
    if lacking:
        raise pa.ArrowInvalid(f"it lacks the column {', '.join(lacking)}; it has {', '.join(schema.names)}")
    read = pa.schema([_plain(schema.field(name)) for name in names], schema.metadata)
    return pa.Table.from_batches([batch.cast(read) for batch in batches(file, names)], read)


def batches(file: Path | bytes, columns: Sequence[str], buffer: int = 0) -> Iterator[pa.RecordBatch]:
    """Some columns, ROWS rows at a time; `buffer`: bytes of a column that are read ahead."""
    size = len(file) if isinstance(file, bytes) else file.stat().st_size
    room = BYTES + BYTES_A_BYTE * size
    with opened(file) as first:
        texts = [field.name for field in first.schema_arrow if field.name in columns and _is_text(field.type)]
    # Texts that are short cannot be much more than they are, and are decoded at once, which is quicker.
    held = texts if texts and _longest(file, texts) > SHORT else []
    with opened(file, read_dictionary=held, buffer_size=buffer) as source:
        for batch in source.iter_batches(ROWS, columns=list(columns), use_threads=False):
            arrays = []
            for array in batch.columns:
                room -= _letters(array) if pa.types.is_dictionary(array.type) else array.nbytes
                if room < 0:
                    raise pa.ArrowInvalid(f"its texts are too long for a file of {size:,} bytes")
                arrays.append(array.dictionary_decode() if pa.types.is_dictionary(array.type) else array)
            yield pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _longest(file: Path | bytes, texts: Sequence[str]) -> int:
    """Bytes of the longest text that stands in a dictionary of the file: one row of a group brings the whole of it."""
    longest = 0
    with opened(file, read_dictionary=texts) as source:
        if source.num_row_groups > GROUPS:
            raise pa.ArrowInvalid(f"it is in {source.num_row_groups:,} pieces; write it in fewer")
        for group in range(source.num_row_groups):
            for batch in source.iter_batches(1, row_groups=[group], columns=texts, use_threads=False):
                for array in batch.columns:
                    lengths = pc.binary_length(array.dictionary) if pa.types.is_dictionary(array.type) else None
                    longest = max(longest, (pc.max(lengths).as_py() or 0) if lengths is not None else SHORT + 1)
                break
    return longest


def _refuse_extensions(file: Path | bytes, size: int) -> None:
    """ArrowInvalid where the Arrow schema in the footer, in base64, names an extension type.

    pyarrow asks no one before it makes these types, so the footer is looked at without it.
    """
    footer = _end(file, min(size, 8))
    length = int.from_bytes(footer[:4], "little")
    footer = _end(file, min(size, 8 + length))
    for run in BASE64.findall(footer):
        for shift in range(4):  # a byte before it may look like one of its letters
            part = run[shift:]
            if EXTENSION in base64.b64decode(part[: len(part) // 4 * 4]):
                raise pa.ArrowInvalid("it has columns of an extension type; write them as plain ones")


def _end(file: Path | bytes, count: int) -> bytes:
    if isinstance(file, bytes):
        return file[len(file) - count :]
    with file.open("rb") as opened:
        opened.seek(-count, os.SEEK_END)
        return opened.read(count)


def _check_claims(metadata: pq.FileMetaData, size: int) -> None:
    values, stored = VALUES + VALUES_A_BYTE * size, BYTES + BYTES_A_BYTE * size
    counts, claimed = [0] * metadata.num_columns, 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            chunk = group.column(place)
            counts[place] += max(0, chunk.num_values)
            claimed += max(0, chunk.total_uncompressed_size)
    if max([metadata.num_rows, *counts]) > values or claimed > stored:
        raise pa.ArrowInvalid(
            f"it claims {metadata.num_rows:,} rows, up to {max(counts, default=0):,} values in a column and "
            f"{claimed:,} bytes; a file of {size:,} bytes is not believed to hold them"
        )


def _letters(array: pa.DictionaryArray) -> int:
    """Bytes of the texts that a dictionary's indices stand for."""
    if not len(array.dictionary) or not _is_text(array.dictionary.type):
        return 0
    lengths = pc.binary_length(array.dictionary).cast(pa.int64())
    if (longest := pc.max(lengths).as_py() or 0) > TEXT:
        raise pa.ArrowInvalid(f"a text of {longest:,} bytes in it")
    return int(pc.sum(lengths.take(array.indices)).as_py() or 0)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind))


def _plain(field: pa.Field) -> pa.Field:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
