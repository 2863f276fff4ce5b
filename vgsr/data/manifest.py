"""The manifest: the one description of a corpus that everything else reads.

In: rows from a corpus reader (`vgsr.corpora`). Out: a folder of Parquet tables, here or on S3,

    utterances.parquet  faces.parquet  problems.parquet  trials/NAME.parquet  enrolments/NAME.parquet  manifest.json

with a content digest over the tables. `enrolments/NAME` is there where the list NAME enrols people by several
utterances: a trial's `enrol` may then be a name that stands for them. The digest does not depend on where the corpus
lies, so the same corpus prepared on two machines has the same digest and their figures can be compared.

`manifest.json` comes last and names the SHA-256 of each file beside it: a half-copied folder, or tables of two
versions of a corpus, are not taken for a manifest.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vgsr import storage
from vgsr.data import manifest_folder, manifest_header, tables
from vgsr.data.checks import ManifestError, check, named, read_as_named
from vgsr.data.manifest_header import HEADER
from vgsr.data.tables import ENROLMENTS, FACES, PROBLEMS, TRIALS, UTTERANCES, Rows, content_digest
from vgsr.storage import Place, parquet

Trial = tuple[int, str, str]

FORMAT = 2  # of the tables
LISTS = {"trials": TRIALS, "enrolments": ENROLMENTS}


@dataclass(frozen=True)
class Problem:
    """One input that was left out, and why."""

    uri: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """A corpus as its folder describes it; the tables are read when they are asked for.

    place: the folder; an absolute path, or on S3. files: its tables, `trials/x.parquet` and so on, and the SHA-256 of
    each (None in a folder that an older version wrote). shards: the folder that holds the recordings, where they are
    in shards. Other processes get it without the tables that were read here.
    """

    place: str
    root: str
    corpus: str
    synthetic: bool
    digest: str
    files: Mapping[str, str | None]
    shards: str | None

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def location(self) -> str:
        """Where the corpus lies: `root`, itself relative to the manifest's folder."""
        if "://" in self.root or not storage.remote(self.place):
            return self.root if "://" in self.root else str(Path(self.place, self.root).absolute())
        return self.root if self.root.startswith("/") else manifest_folder.below(self.place, self.root)

    def file(self, uri: str) -> str:
        """Where a uri lies, under `location`. StorageError for one that leads out of it."""
        return storage.inside(self.location, uri)

    @cached_property
    def utterances(self) -> pa.Table:
        """Every utterance with every column; `split` and `rows_of` read less."""
        return self._scan("utterances", self._columns)

    @cached_property
    def faces(self) -> pa.Table:
        """Every face."""
        return self._scan("faces", FACES.names)

    @cached_property
    def trials(self) -> dict[str, pa.Table]:
        """The trial lists by their names."""
        return self._lists("trials")

    @cached_property
    def enrolments(self) -> dict[str, pa.Table]:
        """The enrolments of those trial lists that enrol by several utterances."""
        return self._lists("enrolments")

    def split(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The utterances of one split (`train`, `validation`, `test`), or only some columns of them."""
        names = self._columns if columns is None else columns
        return self._scan("utterances", names, ("split", lambda splits: pc.equal(splits, name)))

    def rows_of(self, ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """Columns of the utterances `ids`, in their order; ManifestError where some are not in the manifest."""
        asked = pa.array(ids, pa.string())
        where = ("utterance_id", lambda known: pc.is_in(known, value_set=asked))
        found = self._scan("utterances", list(dict.fromkeys(["utterance_id", *columns])), where)
        rows = pc.index_in(asked, value_set=found["utterance_id"].combine_chunks())
        if rows.null_count:
            raise ManifestError(f"{self.place}: {rows.null_count} of {len(ids)} utterances are not in the manifest")
        return found.select(list(columns)).take(rows)

    def named_trials(self, name: str) -> pa.Table:
        """The trial list `name`; ManifestError names the lists there are."""
        if name not in self.trials:
            have = ", ".join(sorted(self.trials)) or "none"
            raise ManifestError(f"{self.place}: there is no trial list {name!r} (it has: {have})")
        return self.trials[name]

    def enrolled(self, name: str) -> dict[str, list[str]]:
        """The utterances by which each name enrolled in the trial list `name` is known; empty where all are single."""
        table, found = self.enrolments.get(name), defaultdict(list)
        for row in table.to_pylist() if table is not None else ():
            found[row["enrol"]].append(row["utterance_id"])
        return dict(found)

    @property
    def _columns(self) -> list[str]:
        with parquet.opened(self._file("utterances")) as source:
            return source.schema_arrow.names

    def _scan(self, name: str, columns: Sequence[str], where: tables.Where | None = None) -> pa.Table:
        """Rows of the utterances or the faces; ManifestError for what no reader may open, or that is damaged."""
        try:
            return read_as_named(self.place, self.location, tables.scan(self._file(name), columns, where))
        except (KeyError, pa.ArrowException) as error:
            raise ManifestError(
                f"{self.place}: damaged manifest ({name}.parquet: {error}); prepare it again"
            ) from error

    def _lists(self, kind: str) -> dict[str, pa.Table]:
        files = sorted(name for name in self.files if name.startswith(f"{kind}/"))
        return {
            PurePosixPath(name).stem: tables.scan(self._file(name.removesuffix(".parquet")), LISTS[kind].names)
            for name in files
        }

    def _file(self, name: str) -> Path:
        """A table's file on this machine; ManifestError where it is not the one that the header is of."""
        file, digest = storage.local(storage.join(self.place, f"{name}.parquet")), self.files[f"{name}.parquet"]
        if digest and tables.sha256(file) != digest:
            raise ManifestError(
                f"{self.place}: damaged manifest ({name}.parquet is not the one that {HEADER} was written with: they "
                "are of two versions, or it was changed); copy the whole folder again, or prepare it again"
            )
        return file


def write(
    place: Place,
    *,
    corpus: str,
    root: Place,
    synthetic: bool,
    utterances: Rows,
    faces: Rows,
    trials: Mapping[str, Iterable[Trial] | pa.Table],
    problems: Iterable[Problem],
    enrolments: Mapping[str, Iterable[tuple[str, str]] | pa.Table] | None = None,
) -> Manifest:
    """Check the rows and write them as a manifest folder, here or on S3, all or nothing.

    Rows (mappings, as they come, or a table) are sorted by id, so the digest does not depend on the order of the file
    system. `root` is kept relative to `place` when it lies inside it. `enrolments`: for a trial list, pairs (enrolled
    name, utterance). Raises ManifestError on double ids, unknown splits, trials of unknown utterances, an enrolment of
    several speakers, a label that contradicts the speakers, or a speaker both in training and in a trial list.
    """
    lists = {f"trials/{name}": tables.pairs(rows, TRIALS) for name, rows in sorted(trials.items())}
    lists |= {f"enrolments/{name}": tables.pairs(rows, ENROLMENTS) for name, rows in sorted((enrolments or {}).items())}
    made = {
        "utterances": tables.table(utterances, UTTERANCES, "utterance_id"),
        "faces": tables.table(faces, FACES, "face_id"),
        "problems": tables.table((asdict(problem) for problem in problems), PROBLEMS, "uri"),
    }
    check(made["utterances"], made["faces"], lists)
    for name in ("utterances", "faces"):
        read_as_named(str(place), str(root), made[name])
    for name in (corpus, *trials, *(enrolments or {})):
        named(f"{place}: a corpus or trial list called", name)
    made |= lists
    header = {
        "format": FORMAT,
        "corpus": corpus,
        "synthetic": synthetic,
        "root": manifest_folder.relative(root, place),
        "digest": content_digest(made),
    }
    with manifest_folder.staging(place) as staging:
        files = {f"{name}.parquet": tables.write(staging / f"{name}.parquet", table) for name, table in made.items()}
        (staging / HEADER).write_text(json.dumps({**header, "files": files}, indent=2) + "\n")
        stale = [f"{kind}/{name}" for kind in LISTS for name in storage.listing(storage.join(place, kind))]
        manifest_folder.publish(staging, place, stale, last=HEADER)
    return read(place)


def read(place: Place) -> Manifest:
    """The manifest in the folder `place`, here or on S3; ManifestError when it is missing or not one."""
    place = str(place)
    if not storage.remote(place):
        place = os.path.abspath(place)  # the tables are read later, when this process may be elsewhere
    if storage.stat(storage.join(place, HEADER)) is None:
        raise ManifestError(f"{place}: not a manifest (no {HEADER} in it); `vgsr prepare` writes one")
    try:
        header = storage.read_json(storage.join(place, HEADER), manifest_header.MOST)
        if header["format"] != FORMAT:
            raise ManifestError(
                f"{place}: a manifest of format {str(header['format'])[:40]}, written by another version of VGSR, "
                f"which reads format {FORMAT}; prepare it again with `vgsr prepare`, then `vgsr teach`"
            )
        made = Manifest(
            place=place,
            root=manifest_header.checked_root(header["root"]),
            corpus=named(f"{place}: its corpus is called", header["corpus"]),
            synthetic=bool(header["synthetic"]),
            digest=manifest_header.checked_digest(header["digest"]),
            files=manifest_header.checked_files(place, header.get("files") or _unlisted(place)),
            shards=_shards(place),
        )
        for name in made.files:
            _check_columns(made, name)
        return made
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise ManifestError(f"{place}: damaged manifest ({str(error)[:300]}); prepare it again") from error


def problems(manifest: Manifest) -> pa.Table:
    """What preparing left out: columns uri, reason."""
    return tables.scan(manifest._file("problems"), PROBLEMS.names)


def _check_columns(made: Manifest, name: str) -> None:
    known = {"utterances": UTTERANCES, "faces": FACES, "problems": PROBLEMS}
    schema = known.get(name.removesuffix(".parquet")) or LISTS[name.partition("/")[0]]
    if storage.stat(storage.join(made.place, name)) is None:
        raise ManifestError(f"{made.place}: damaged manifest (there is no {name} in it); prepare it again")
    with parquet.opened(made._file(name.removesuffix(".parquet"))) as source:
        there = source.schema_arrow.names
    if missing := [column for column in schema.names if column not in there]:
        raise ValueError(f"{name} has no column {', '.join(missing)}")


def _unlisted(place: str) -> dict[str, str | None]:
    """The tables of a folder whose header does not name them."""
    found = [f"{kind}/{name}" for kind in LISTS for name in storage.listing(storage.join(place, kind))]
    return dict.fromkeys([*manifest_header.TABLES, *found])


def _shards(place: str) -> str | None:
    folder = storage.join(place, "shards")
    return folder if storage.stat(storage.join(folder, "index.parquet")) else None
