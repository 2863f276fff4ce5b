"""People whom the model knows: recordings of them in, a file that `identifying` searches out.

A gallery is one Parquet file: a row for each enrolled recording, and in its metadata the digest of the model that made
the embeddings, since those of two models cannot be compared. A person's embedding is the mean of theirs, as in a trial
list with several enrolment utterances (`vgsr.evaluation.scoring`).
"""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vgsr.data.audio import AudioError
from vgsr.speaker import judging
from vgsr.speaker.model import Speaker
from vgsr.speaker.recordings import Recording, name_of, samples
from vgsr.storage import parquet
from vgsr.storage.small import from_json

FORMAT = 1
_KEY = b"vgsr.gallery"


class GalleryError(Exception):
    """A gallery that cannot be used; the text says what to do."""


@dataclass(frozen=True)
class Gallery:
    """Enrolled people: table with the columns of `schema`; the model by its digest and by where it was taken from."""

    digest: str
    place: str
    table: pa.Table

    @property
    def people(self) -> dict[str, list[str]]:
        """The rows of each person's recordings, as strings, by name in the order of enrolment."""
        rows: dict[str, list[str]] = {}
        for row, name in enumerate(self.table["name"].to_pylist()):
            rows.setdefault(name, []).append(str(row))
        return rows

    def embeddings(self) -> np.ndarray:
        """Embeddings [n, d] (float32) in the order of the table."""
        column = self.table["embedding"].combine_chunks()
        return column.flatten().to_numpy().reshape(len(column), column.type.list_size)


@dataclass
class Enrolment:
    """What became of the recordings: `added`, `known` already, or left out with the reason, each by its name."""

    added: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def schema(dimension: int) -> pa.Schema:
    """Columns of a gallery. `samples` is the SHA-256 of the samples as they were embedded: one recording, one row."""
    return pa.schema(
        [
            ("name", pa.string()),
            ("recording", pa.string()),
            ("samples", pa.string()),
            ("seconds", pa.float64()),
            ("embedding", pa.list_(pa.float32(), dimension)),
        ]
    )


def new(model: Speaker, place: str) -> Gallery:
    """A gallery without people for a model that was taken from `place`."""
    return Gallery(model.digest, place, schema(model.experiment.student.width).empty_table())


def read(path: str | Path) -> Gallery:
    """The gallery in a file; GalleryError when there is none or it is damaged."""
    path = Path(path)
    if not path.is_file():
        raise GalleryError(f"{path}: there is no gallery; `vgsr enroll NAME FILES` makes one")
    try:
        table = parquet.table(path)
        facts = from_json((table.schema.metadata or {})[_KEY])
        wanted = schema(facts["dimension"])
        gallery = Gallery(facts["digest"], facts["place"], table.replace_schema_metadata(None))
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise GalleryError(
            f"{path}: not a gallery, or a damaged one ({str(error)[:300]}); enrol again into another file"
        ) from error
    whole = facts.get("format") == FORMAT and gallery.table.schema.equals(wanted)
    if not whole or any(column.null_count for column in gallery.table.columns):
        raise GalleryError(
            f"{path}: a gallery of another version of VGSR, or a damaged one; enrol again into another file"
        )
    if not np.isfinite(gallery.embeddings()).all():
        raise GalleryError(f"{path}: a damaged gallery: embeddings that are not numbers; enrol again into another file")
    return gallery


@contextmanager
def held(path: str | Path) -> Iterator[None]:
    """Nobody else who asks so writes a gallery in this folder meanwhile: two enrolments at once must both be kept."""
    folder = Path(path).absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    # The folder, because the file itself is replaced by another one.
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write(path: str | Path, gallery: Gallery) -> None:
    """Write the gallery to a file, all or nothing, readable by its owner alone: voices are personal."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    dimension = gallery.table.schema.field("embedding").type.list_size
    facts = {"format": FORMAT, "digest": gallery.digest, "place": gallery.place, "dimension": dimension}
    handle, staging = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        pq.write_table(gallery.table.replace_schema_metadata({_KEY: json.dumps(facts).encode()}), staging)
        os.replace(staging, path)
    finally:
        Path(staging).unlink(missing_ok=True)


def enroll(
    model: Speaker,
    gallery: Gallery,
    name: str,
    recordings: Sequence[Recording],
    advance: Callable[[], None] = lambda: None,
) -> tuple[Gallery, Enrolment]:
    """The gallery with these recordings of the person `name`, and what became of each; `advance` is called after each.

    Left out is what cannot be embedded, what is too short or too noisy to judge (it would spoil every comparison with
    this person), and what somebody else is enrolled with. GalleryError for another model's gallery or an empty name.
    """
    same_model(model, gallery)
    if not name.strip() or name != name.strip() or not name.isprintable():
        raise GalleryError(f"{name!r} is no name: it needs printable letters and no space around them")
    owners = dict(zip(*(gallery.table[column].to_pylist() for column in ("samples", "name")), strict=True))
    done = Enrolment()
    rows: list[dict[str, Any]] = []
    for number, recording in enumerate(recordings, 1):
        called = name_of(recording, f"array {number}")
        try:
            wave = samples(recording, called)
            digest = hashlib.sha256(wave.tobytes()).hexdigest()
            condition = judging.examine(wave)
            if digest in owners and owners[digest] == name:
                done.known.append(called)
            elif digest in owners:
                done.left_out.append((called, f"the same recording is enrolled as {owners[digest]!r}"))
            elif condition.problem:
                done.left_out.append((called, condition.problem))
            else:
                place = called if isinstance(recording, np.ndarray) else str(Path(recording).absolute())
                row = (name, place, digest, condition.seconds, model.embed(wave))
                rows.append(dict(zip(gallery.table.column_names, row, strict=True)))
                owners[digest] = name
                done.added.append(called)
        except AudioError as error:
            done.left_out.append((called, error.reason))
        advance()
    added = pa.Table.from_pylist(rows, schema=gallery.table.schema)
    return replace(gallery, table=pa.concat_tables([gallery.table, added])), done


def same_model(model: Speaker, gallery: Gallery) -> None:
    """GalleryError unless the gallery was made with this model."""
    if gallery.digest != (digest := model.digest):
        raise GalleryError(
            f"this gallery was made with another model: {gallery.place}, weights {gallery.digest[:12]}, now "
            f"{digest[:12]}. Embeddings of two models cannot be compared: use that model (--model), or enrol the "
            "recordings again into another file (--gallery)"
        )
