"""The manifest: the one description of a corpus that everything else reads.

In: rows from a corpus reader (`vgsr.corpora`). Out: a folder of Parquet tables,

    utterances.parquet  faces.parquet  problems.parquet  trials/NAME.parquet  enrolments/NAME.parquet  manifest.json

with a content digest over the tables. `enrolments/NAME` is there where the list NAME enrols people by several
utterances: a trial's `enrol` may then be a name that stands for them. The digest does not depend on where the corpus
lies, so the same corpus prepared on two machines has the same digest and their figures can be compared.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vgsr.data.checks import ManifestError, check

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
PROBLEMS = pa.schema([("uri", pa.string()), ("reason", pa.string())])

Trial = tuple[int, str, str]

FORMAT = 2  # of the tables above


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
    enrolments: dict[str, pa.Table]

    @property
    def location(self) -> str:
        """Where the corpus lies: `root`, itself relative to the manifest's folder."""
        return self.root if "://" in self.root else str((self.path / self.root).absolute())

    def file(self, uri: str) -> str:
        """Where a uri lies: relative ones under `location`."""
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

    def enrolled(self, name: str) -> dict[str, list[str]]:
        """The utterances by which each name enrolled in the trial list `name` is known; empty where all are single."""
        table, found = self.enrolments.get(name), defaultdict(list)
        for row in table.to_pylist() if table is not None else ():
            found[row["enrol"]].append(row["utterance_id"])
        return dict(found)


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
    enrolments: Mapping[str, Iterable[tuple[str, str]]] | None = None,
) -> Manifest:
    """Check the rows and write them as a manifest folder, all or nothing.

    Rows are sorted by id, so the digest does not depend on the order of the file system. `root` is kept relative
    to `path` when it lies inside it. `enrolments`: for a trial list, pairs (enrolled name, utterance). Raises
    ManifestError on double ids, unknown splits, trials of unknown utterances, an enrolment of several speakers, a
    label that contradicts the speakers, or a speaker both in training and in a trial list.
    """
    path, root = Path(path).absolute(), Path(root).absolute()
    tables = {
        "utterances": _table(utterances, UTTERANCES, "utterance_id"),
        "faces": _table(faces, FACES, "face_id"),
        "problems": _table([asdict(problem) for problem in problems], PROBLEMS, "uri"),
    }
    lists = {f"trials/{name}": _pairs(rows, TRIALS) for name, rows in sorted(trials.items())}
    lists |= {f"enrolments/{name}": _pairs(rows, ENROLMENTS) for name, rows in sorted((enrolments or {}).items())}
    check(tables["utterances"], tables["faces"], lists)
    tables |= lists
    digest = content_digest(tables)
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        for name, table in tables.items():
            file = staging / f"{name}.parquet"
            file.parent.mkdir(exist_ok=True)
            pq.write_table(table, file, compression="zstd")
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
        return Manifest(
            path=path,
            root=header["root"],
            corpus=header["corpus"],
            synthetic=header["synthetic"],
            digest=header["digest"],
            utterances=_load(path / "utterances.parquet", UTTERANCES),
            faces=_load(path / "faces.parquet", FACES),
            trials=_lists(path / "trials", TRIALS),
            enrolments=_lists(path / "enrolments", ENROLMENTS),
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


def _pairs(rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def _lists(folder: Path, schema: pa.Schema) -> dict[str, pa.Table]:
    return {file.stem: _load(file, schema) for file in sorted(folder.glob("*.parquet"))}


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
    for lists in ("trials", "enrolments"):
        shutil.rmtree(path / lists, ignore_errors=True)
    for item in sorted(staging.iterdir(), key=lambda item: item.name == "manifest.json"):
        os.replace(item, path / item.name)
