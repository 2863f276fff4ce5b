"""The tables of a manifest: rows in, Arrow and Parquet out; read again column by column, a batch of rows at a time.

A million rows are never a million Python objects here: what comes as mappings becomes Arrow a piece at a time, and a
reader who wants some columns of some rows holds no others.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vgsr import storage
from vgsr.storage import Entry, parquet

UTTERANCES = pa.schema(
    [
        ("utterance_id", pa.string()),
        ("speaker", pa.string()),
        ("session", pa.string()),
        ("uri", pa.string()),
        ("start", pa.float64()),
        ("seconds", pa.float64()),
        ("sample_rate", pa.int32()),
        ("split", pa.string()),
        ("speech_snr", pa.float32()),  # dB
        ("speech_clipping", pa.float32()),  # headroom, dB
        ("speech_dnsmos", pa.float32()),  # 1 to 5; null where it was not asked for
    ]
)
FACES = pa.schema([("face_id", pa.string()), ("speaker", pa.string()), ("session", pa.string()), ("uri", pa.string())])
TRIALS = pa.schema([("label", pa.int8()), ("enrol", pa.string()), ("test", pa.string())])
ENROLMENTS = pa.schema([("enrol", pa.string()), ("utterance_id", pa.string())])
CONCAT = "-concat"  # a trial list whose name ends so enrols by one recording that was joined from several
PROBLEMS = pa.schema([("uri", pa.string()), ("reason", pa.string())])

Rows: TypeAlias = Iterable[Mapping[str, Any]] | pa.Table
Where = tuple[str, Callable[[pa.Array], pa.Array]]  # a column, and what says which of its values are wanted

ROWS = 1 << 16  # that are Python objects, or decoded, at a time
GROUP = 1 << 18  # rows of a row group
BUFFER = 1 << 20  # bytes of a column that are read ahead


def table(rows: Rows, schema: pa.Schema, key: str) -> pa.Table:
    """Rows as one table of this schema, sorted by the column `key`; what a mapping lacks is null, what it has more is
    left out, and rows of one key stay in their order."""
    if isinstance(rows, pa.Table):
        made = rows.select(schema.names).cast(schema).replace_schema_metadata(None)
    else:
        made = pa.Table.from_batches((pa.RecordBatch.from_pylist(some, schema) for some in _pieces(rows)), schema)
    made = made.combine_chunks()
    names = made[key]
    if pc.all(pc.less_equal(names[:-1], names[1:])).as_py() is not False:
        return made
    return made.take(pc.sort_indices(names)).combine_chunks()


def pairs(rows: Iterable[tuple[Any, ...]] | pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows as one table of this schema, in their order."""
    if isinstance(rows, pa.Table):
        return rows.select(schema.names).cast(schema).replace_schema_metadata(None)
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def content_digest(tables: Mapping[str, pa.Table]) -> str:
    """SHA-256 over the tables' names, columns and values (Arrow IPC bytes; our definition)."""
    digest = hashlib.sha256()
    for name in sorted(tables):
        digest.update(name.encode() + b"\0")
        whole = tables[name].replace_schema_metadata(None).combine_chunks()
        with pa.ipc.new_stream(pa.PythonFile(_Hashed(digest), mode="w"), whole.schema) as stream:
            stream.write_table(whole)
    return digest.hexdigest()


def write(file: Path, content: pa.Table) -> str:
    """Write a table; returns the SHA-256 of the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, file, compression="zstd", row_group_size=GROUP)
    return sha256(file)


def scan(file: Path, names: Sequence[str], where: Where | None = None) -> pa.Table:
    """Columns of a Parquet file, of all its rows or of those whose value is wanted, in the order of the file."""
    column, wanted = where or (None, None)
    needed = list(dict.fromkeys([*names, *([column] if column else [])]))
    with parquet.opened(file) as source:
        schema = pa.schema([source.schema_arrow.field(name) for name in names])
    batches = [
        (batch.filter(wanted(batch[column])) if wanted else batch).select(names)
        for batch in parquet.batches(file, needed, BUFFER)
    ]
    pa.default_memory_pool().release_unused()  # what was decoded on the way, and what earlier readers have dropped
    return pa.Table.from_batches(batches, schema).replace_schema_metadata(None)


def sha256(file: Path) -> str:
    """Of a file's content, 64 hex digits; taken once in a process as long as the file stays as it is."""
    entry = storage.stat(file)
    return _sha256(file, entry) if entry else ""


@lru_cache(maxsize=1024)
def _sha256(file: Path, entry: Entry) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _pieces(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    source = iter(rows)
    while some := [dict(row) for row in islice(source, ROWS)]:
        yield some


class _Hashed:
    """A file that keeps nothing of what is written but its digest."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, content: bytes) -> int:
        self._digest.update(content)
        return len(content)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""
