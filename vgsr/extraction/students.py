"""Embedding: a finished model and a manifest in, a Parquet table of its utterances' embeddings out.

    utterance_id  speaker  embedding        beside it, in OUT.problems.parquet:   utterance_id  uri  reason

The table is what `vgsr evaluate --scores` takes; its metadata name the weights and the manifest. An utterance that
cannot be embedded is in the second table instead.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from rich.console import Console

import vgsr
from vgsr import speaker, storage
from vgsr.data import recordings
from vgsr.data.audio import AudioError
from vgsr.data.manifest import Manifest
from vgsr.data.tables import content_digest
from vgsr.evaluation import embedding
from vgsr.extraction import parts, pool
from vgsr.extraction.parts import Function
from vgsr.speaker import Speaker

FILES = ("checkpoint.json", "experiment.yaml", "speakers.txt", "student.safetensors")  # what `speaker.load` reads
GROUP = 16384  # rows of a row group
KEY = b"vgsr.embeddings"
SCHEMA = pa.schema([("utterance_id", pa.string()), ("speaker", pa.string()), ("embedding", pa.list_(pa.float32()))])
PROBLEMS = pa.schema([("utterance_id", pa.string()), ("uri", pa.string()), ("reason", pa.string())])


@dataclass(frozen=True)
class Students:
    """The work: every utterance, or those of `lists`, is embedded by the checkpoint whose files these are.

    Each is embedded whole and alone, in one thread or on a GPU.
    """

    files: dict[str, bytes]
    digest: str  # of the weights
    lists: tuple[str, ...] = ()

    title = "utterances"
    lost = "unusable"
    schema = pa.schema([("embedding", pa.list_(pa.float32())), ("problem", pa.string())])

    @property
    def key(self) -> str:
        return f"students {vgsr.__version__} {self.digest}"

    def rows(self, manifest: Manifest) -> pa.Table:
        table = manifest.utterances.select(["utterance_id", "speaker", "uri", "start", "seconds"])
        if not self.lists:
            return table
        wanted = pa.array(embedding.of_lists(manifest, self.lists), pa.string())
        return table.filter(pc.is_in(table["utterance_id"], value_set=wanted))

    def start(self, manifest: Manifest, threads: int, gpu: bool) -> Function:
        torch.set_num_threads(1)
        with TemporaryDirectory(prefix="vgsr-student-") as folder:
            for name, content in self.files.items():
                (Path(folder) / name).write_bytes(content)
            model = speaker.load(folder, "cuda" if gpu else "cpu")
        workers = ThreadPoolExecutor(threads)

        def one(row: dict[str, Any]) -> dict[str, Any]:
            try:
                wave = recordings.read(manifest, row["uri"], row["start"], row["seconds"])
                return {"embedding": model.embed(wave)}
            except AudioError as error:
                return {"problem": error.reason}

        return lambda rows: pa.Table.from_pylist(list(workers.map(one, rows.to_pylist())), schema=self.schema)


@dataclass(frozen=True)
class Embedded:
    """What `embed` wrote: places of both tables (problems: None where there are none), and their rows."""

    place: str
    problems: str | None
    count: int
    lost: list[tuple[str, str]]


def embed(
    model: Speaker,
    manifest: Manifest,
    out: str,
    *,
    lists: Sequence[str] = (),
    actors: int = 0,
    gpu: bool = False,
    console: Console | None = None,
) -> Embedded:
    """Embed the utterances of `manifest`, or of its trial lists `lists`, and write them to the place `out`.

    A table that is already there, of the same model and utterances, is left as it is. Finished parts are kept in
    `out` + ".parts" until then; `actors` and `gpu` as in `pool.run`. ExtractionError, ManifestError for an unknown
    list.
    """
    files = {name: (model.folder / name).read_bytes() for name in FILES}
    work, folder = Students(files, model.digest, tuple(lists)), f"{out}.parts"
    rows = work.rows(manifest)
    facts = {
        "model_digest": model.digest,
        "corpus": manifest.corpus,
        "manifest_digest": manifest.digest,
        "of": sha256(f"{work.key} {content_digest({'rows': rows})}".encode()).hexdigest(),
    }
    found = _finished(out, facts)
    if found is None:
        made = pool.run(work, manifest, folder, actors=actors, gpu=gpu, console=console)
        _write(out, facts, rows, parts.finished(folder, made))
        found = _read(out)
    parts.clear(folder)
    return found


def _write(out: str, facts: dict[str, str], rows: pa.Table, results: Iterator[pa.Table]) -> None:
    """Both tables, that of the problems first: whoever finds the other may rely on it."""
    lost: list[dict[str, Any]] = []
    with storage.written(out) as file:
        with pq.ParquetWriter(file, SCHEMA.with_metadata({KEY: json.dumps(facts).encode()})) as writer:
            for group in _groups(results):
                own, rows = rows.slice(0, len(group)), rows.slice(len(group))
                columns = {"embedding": group["embedding"], "reason": group["problem"]}
                joined = pa.table({name: own[name] for name in ("utterance_id", "speaker", "uri")} | columns)
                good = pc.is_null(joined["reason"])
                writer.write_table(joined.filter(good).select(SCHEMA.names).cast(SCHEMA))
                lost += joined.filter(pc.invert(good)).select(PROBLEMS.names).to_pylist()
        if not lost:
            storage.delete(_beside(out))
            return
        with storage.written(_beside(out)) as problems:
            pq.write_table(pa.Table.from_pylist(lost, schema=PROBLEMS), problems)


def _finished(out: str, facts: dict[str, str]) -> Embedded | None:
    """What lies at `out` already, if it is of the same model and utterances."""
    if storage.stat(out) is None:
        return None
    try:
        metadata = pq.read_schema(storage.local(out)).metadata or {}
        return _read(out) if json.loads(metadata.get(KEY, b"{}")) == facts else None
    except (pa.ArrowException, ValueError):
        return None  # another kind of file, which is written over, as any `out` is


def _read(out: str) -> Embedded:
    problems = _beside(out) if storage.stat(_beside(out)) else None
    lost = pq.read_table(storage.local(problems)).to_pylist() if problems else []
    count = pq.read_metadata(storage.local(out)).num_rows
    return Embedded(out, problems, count, [(row["utterance_id"], row["reason"]) for row in lost])


def _beside(out: str) -> str:
    """Where the utterances are listed that are not in the table at `out`."""
    return f"{out.removesuffix('.parquet')}.problems.parquet"


def _groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of about GROUP rows."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
