"""The manifest: the one description of a corpus that everything else reads.

In: rows from a corpus reader (`vgsr.corpora`). Out: a folder of Parquet tables,

    utterances.parquet   faces.parquet   trials/NAME.parquet   problems.parquet   manifest.json

with a content digest over the tables. The digest does not depend on where the corpus lies, so the same corpus
prepared on two machines has the same digest and their figures can be compared.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SPLITS = ("train", "validation", "test")

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
PROBLEMS = pa.schema([("uri", pa.string()), ("reason", pa.string())])

Trial = tuple[int, str, str]

FORMAT = 2  # of the tables above


class ManifestError(Exception):
    """A manifest that cannot be trusted or read; the text says what to mend."""


@dataclass(frozen=True)
class Problem:
    """One input that was left out, and why."""

    uri: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """A corpus as read from its folder; tables are memory-mapped."""

    path: Path
    root: str
    corpus: str
    synthetic: bool
    digest: str
    utterances: pa.Table
    faces: pa.Table
    trials: dict[str, pa.Table]

    def file(self, uri: str) -> str:
        """Absolute path of a uri; relative ones lie under `root`, itself relative to the manifest's folder."""
        return uri if "://" in uri else str((self.path / self.root / uri).absolute())

    def split(self, name: str) -> pa.Table:
        """The utterances of one split (`train`, `validation`, `test`)."""
        return self.utterances.filter(pc.equal(self.utterances["split"], name))

    def named_trials(self, name: str) -> pa.Table:
        """The trial list `name`; ManifestError names the lists there are."""
        if name not in self.trials:
            have = ", ".join(sorted(self.trials)) or "none"
            raise ManifestError(f"{self.path}: there is no trial list {name!r} (it has: {have})")
        return self.trials[name]


def write(
    path: str | Path,
    *,
    corpus: str,
    root: str | Path,
    synthetic: bool,
    utterances: Sequence[Mapping[str, Any]],
    faces: Sequence[Mapping[str, Any]],
    trials: Mapping[str, Iterable[Trial]],
    problems: Sequence[Problem],
) -> Manifest:
    """Check the rows and write them as a manifest folder, all or nothing.

    Rows are sorted by id, so the digest does not depend on the order of the file system. `root` is kept relative
    to `path` when it lies inside it. Raises ManifestError on double ids, unknown splits, trials of unknown
    utterances, a label that contradicts the speakers, or a speaker both in training and in a trial list.
    """
    path, root = Path(path).absolute(), Path(root).absolute()
    tables = {
        "utterances": _table(utterances, UTTERANCES, "utterance_id"),
        "faces": _table(faces, FACES, "face_id"),
        "problems": _table([asdict(problem) for problem in problems], PROBLEMS, "uri"),
    }
    lists = {name: _trial_table(rows) for name, rows in sorted(trials.items())}
    _check(tables["utterances"], tables["faces"], lists)
    digest = content_digest({**tables, **{f"trials/{name}": table for name, table in lists.items()}})
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        (staging / "trials").mkdir()
        for name, table in tables.items():
            pq.write_table(table, staging / f"{name}.parquet", compression="zstd")
        for name, table in lists.items():
            pq.write_table(table, staging / "trials" / f"{name}.parquet", compression="zstd")
        inside = root.is_relative_to(path)
        header = {
            "format": FORMAT,
            "corpus": corpus,
            "synthetic": synthetic,
            "root": os.path.relpath(root, path) if inside else str(root),
            "digest": digest,
        }
        (staging / "manifest.json").write_text(json.dumps(header, indent=2) + "\n")
        _move_into(staging, path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return read(path)


def read(path: str | Path) -> Manifest:
    """The manifest in folder `path`; ManifestError when it is missing or not one."""
    path = Path(path)
    header_file = path / "manifest.json"
    if not header_file.is_file():
        raise ManifestError(f"{path}: not a manifest (no manifest.json in it); `vgsr prepare` writes one")
    try:
        header = json.loads(header_file.read_text())
        if header["format"] != FORMAT:
            raise ManifestError(
                f"{path}: a manifest of format {header['format']}, written by another version of VGSR, which reads "
                f"format {FORMAT}; prepare it again with `vgsr prepare`, then `vgsr teach`"
            )
        trials = {file.stem: _load(file, TRIALS) for file in sorted((path / "trials").glob("*.parquet"))}
        return Manifest(
            path=path,
            root=header["root"],
            corpus=header["corpus"],
            synthetic=header["synthetic"],
            digest=header["digest"],
            utterances=_load(path / "utterances.parquet", UTTERANCES),
            faces=_load(path / "faces.parquet", FACES),
            trials=trials,
        )
    except (KeyError, ValueError, OSError, pa.ArrowException) as error:
        raise ManifestError(f"{path}: damaged manifest ({error}); prepare it again") from error


def problems(manifest: Manifest) -> pa.Table:
    """What preparing left out: columns uri, reason."""
    return _load(manifest.path / "problems.parquet", PROBLEMS)


def content_digest(tables: Mapping[str, pa.Table]) -> str:
    """SHA-256 over the tables' names, columns and values (Arrow IPC bytes; our definition)."""
    digest = hashlib.sha256()
    for name in sorted(tables):
        digest.update(name.encode() + b"\0")
        table = tables[name].replace_schema_metadata(None).combine_chunks()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        digest.update(sink.getvalue())
    return digest.hexdigest()


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, key: str) -> pa.Table:
    return pa.Table.from_pylist(sorted((dict(row) for row in rows), key=lambda row: row[key]), schema=schema)


def _trial_table(rows: Iterable[Trial]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, TRIALS, strict=True)], schema=TRIALS)


def _load(file: Path, schema: pa.Schema) -> pa.Table:
    table = pq.read_table(file, memory_map=True)
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise ValueError(f"{file.name} has no column {', '.join(missing)}")
    return table


def _move_into(staging: Path, path: Path) -> None:
    """Put the staged tables in `path`, the header last: a folder without a header is not a manifest."""
    path.mkdir(exist_ok=True)
    (path / "manifest.json").unlink(missing_ok=True)
    shutil.rmtree(path / "trials", ignore_errors=True)
    for item in sorted(staging.iterdir(), key=lambda item: item.name == "manifest.json"):
        os.replace(item, path / item.name)


def _check(utterances: pa.Table, faces: pa.Table, trials: Mapping[str, pa.Table]) -> None:
    _unique(utterances["utterance_id"], "utterance")
    _unique(faces["face_id"], "face")
    unknown = set(utterances["split"].to_pylist()) - set(SPLITS)
    if unknown:
        raise ManifestError(f"unknown split {sorted(map(str, unknown))}: use one of {', '.join(SPLITS)}")
    ids = utterances["utterance_id"]
    train = set(utterances.filter(pc.equal(utterances["split"], "train"))["speaker"].to_pylist())
    for name, table in trials.items():
        sides = []
        for side in ("enrol", "test"):
            rows = pc.index_in(table[side], value_set=ids.combine_chunks())
            if rows.null_count:
                lost = table[side].filter(pc.is_null(rows)).unique().to_pylist()
                raise ManifestError(
                    f"trial list {name!r}: {len(lost)} utterances are not in the corpus: {', '.join(lost[:5])}"
                )
            sides.append(utterances["speaker"].take(rows))
        shared = train & (set(sides[0].to_pylist()) | set(sides[1].to_pylist()))
        if shared:
            raise ManifestError(
                f"trial list {name!r}: {len(shared)} speakers are also in training "
                f"({', '.join(sorted(shared)[:5])}); a figure from it would be worthless"
            )
        wrong = pc.not_equal(pc.equal(sides[0], sides[1]), pc.equal(table["label"], 1))
        if pc.any(wrong).as_py():
            first = pc.index(wrong, True).as_py()
            raise ManifestError(
                f"trial list {name!r}: {pc.sum(wrong).as_py()} labels contradict the speakers, first at row {first}"
            )


def _unique(column: pa.ChunkedArray, what: str) -> None:
    counts = column.value_counts()
    double = [c["values"].as_py() for c in counts if c["counts"].as_py() > 1] if len(counts) < len(column) else []
    if double:
        raise ManifestError(f"{len(double)} {what} ids are not unique: {', '.join(double[:5])}")
