"""The teacher bank: one Parquet table a teacher, of face embeddings and quality signals.

In: arrays of a teacher's run (`build`) or embeddings computed elsewhere (`import_embeddings`). Out: a
`Bank`, one row for every face of a manifest, in its order. Embeddings are stored raw; whoever compares them
normalises. They stay in the file until they are asked for.
"""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vgsr import storage
from vgsr.data import tables
from vgsr.data.manifest import Manifest
from vgsr.storage import Place, parquet
from vgsr.storage.small import from_json
from vgsr.teachers import vectors as stores
from vgsr.teachers.quality import agreement, norms
from vgsr.teachers.vectors import COLUMN, GROUP, BankError, InMemory, Vectors
from vgsr.teachers.weights import sha256_of

log = logging.getLogger(__name__)

_KEY = b"vgsr.bank"
MOST_NUMBERS = 1 << 16  # of an embedding
HEADER = ("model", "digest", "dimension", "manifest_digest", "recipe")


@dataclass(frozen=True)
class Bank:
    """A teacher's view of every face of a manifest.

    `model` and `digest` (SHA-256) name the network, `manifest_digest` the corpus, `recipe` how faces were
    found and fed to it; `table` has the columns of `schema(dimension)` but for the embeddings.
    """

    model: str
    digest: str
    dimension: int
    manifest_digest: str
    recipe: str
    table: pa.Table
    embeddings: Vectors

    def matrix(self) -> np.ndarray:
        """All raw embeddings [n, d] (float32) in the order of the table; NaN rows where there is no face."""
        return np.concatenate([np.empty((0, self.dimension), np.float32), *self.embeddings.blocks()])


def schema(dimension: int) -> pa.Schema:
    """Columns of a bank: `embedding` is NaN throughout, and `problem` says why, where there is no embedding."""
    return pa.schema(
        [
            ("face_id", pa.string()),
            ("speaker", pa.string()),
            ("session", pa.string()),
            (COLUMN, pa.list_(pa.float32(), dimension)),
            ("face_norm", pa.float32()),
            ("face_sharpness", pa.float32()),
            ("face_detection", pa.float32()),
            ("face_pose", pa.float32()),
            ("face_agreement", pa.float32()),
            ("problem", pa.string()),
        ]
    )


def build(
    faces: pa.Table,
    embeddings: np.ndarray,
    *,
    model: str,
    digest: str,
    manifest_digest: str,
    recipe: str = "",
    sharpness: np.ndarray | None = None,
    detection: np.ndarray | None = None,
    pose: np.ndarray | None = None,
    problems: Sequence[str | None] | None = None,
) -> Bank:
    """A bank of `faces` (rows of a manifest's faces table) and their raw embeddings [n, d], NaN where none.

    `face_norm` is the embedding's L2 norm, null for all when the embeddings came normalised (every norm is 1
    to 1e-3): their differences would be rounding noise. `face_agreement` is measured within these faces. Signals
    left out are null.
    """
    count, dimension = embeddings.shape
    missing = ~np.isfinite(embeddings).all(axis=1)
    length = norms(embeddings)
    length[missing] = np.nan
    if missing.all() or np.abs(length[~missing] - 1).max() <= 1e-3:
        length = np.full(count, np.nan, np.float32)
    columns = [
        *(faces[name].combine_chunks() for name in ("face_id", "speaker", "session")),
        _signal(length, count),
        _signal(sharpness, count),
        _signal(detection, count),
        _signal(pose, count),
        _signal(agreement(embeddings, faces["speaker"].to_pylist()), count),
        pa.array(problems if problems is not None else [("no embedding" if m else None) for m in missing], pa.string()),
    ]
    raw = np.where(missing[:, None], np.float32(np.nan), embeddings.astype(np.float32, copy=False))
    table = pa.table(columns, schema=_beside(dimension))
    return Bank(model, digest, dimension, manifest_digest, recipe, table, InMemory(raw))


def write(place: Place, bank: Bank) -> Bank:
    """Write `bank` to the file `place`, here or on S3, all or nothing, and return it as read back."""
    header = {name: getattr(bank, name) for name in HEADER}
    layout = schema(bank.dimension).with_metadata({_KEY: json.dumps(header).encode()})
    position = layout.get_field_index(COLUMN)
    with (
        storage.written(place) as staging,
        pq.ParquetWriter(
            staging,
            layout,
            compression="none",
            use_dictionary=["speaker", "session", "problem"],
            write_statistics=False,
            data_page_size=2**31 - 1,  # one page a row group: see `vectors`
        ) as writer,
    ):
        done = 0
        for rows in stores.regrouped(bank.embeddings):
            lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), bank.dimension)
            part = bank.table.slice(done, len(rows)).add_column(position, layout.field(COLUMN), lists)
            writer.write_table(part.cast(layout), row_group_size=GROUP)
            done += len(rows)
    return read(place)


def read(place: Place) -> Bank:
    """The bank in the file `place`, here or on S3; BankError when it is missing or not a bank."""
    place = str(place)
    if storage.stat(place) is None:
        raise BankError(f"{place}: there is no teacher bank; `vgsr teach` writes one")
    try:
        path = storage.local(place)
        with parquet.opened(path) as source:
            found = source.schema_arrow
        header = _header((found.metadata or {})[_KEY])
        wanted = schema(header["dimension"])
        if found.names != wanted.names:
            raise BankError(
                f"{place}: a teacher bank of another version of VGSR (its columns are {', '.join(found.names)}); "
                "teach again with `vgsr teach`, or prepare again where the corpus brings its bank"
            )
        beside = _beside(header["dimension"])
        embeddings: Vectors | None = stores.stored(place, header["dimension"])
        if embeddings is None:
            embeddings = InMemory(stores.of_lists(parquet.table(path, [COLUMN])[COLUMN], header["dimension"]))
        bank = Bank(table=tables.scan(path, beside.names), embeddings=embeddings, **header)
        if len(embeddings) != len(bank.table):
            raise ValueError(f"{len(embeddings):,} embeddings for {len(bank.table):,} faces")
    except (KeyError, TypeError, ValueError, IndexError, OSError, pa.ArrowException) as error:
        said = str(error)[:300]
        raise BankError(f"{place}: not a teacher bank, or a damaged one ({said}); teach again") from error
    if not bank.table.schema.equals(beside):
        raise BankError(f"{place}: its columns are not those of a teacher bank; teach again")
    return bank


def import_embeddings(
    path: str | Path, manifest: Manifest, *, ids: str | Path | None = None, model: str = "imported"
) -> Bank:
    """A bank of embeddings computed elsewhere, aligned to the faces of `manifest`.

    `path` is a `.npy` array [n, d] with `ids`, a text file with one face_id a line, or a Parquet file with
    the columns `face_id` and `embedding`. Faces that it lacks have a null embedding and say so in `problem`;
    ids that the manifest lacks are left out and logged. Raises BankError for a file of another form, ids
    that are double, and when no id at all is known.
    """
    path = Path(path)
    names, vectors = _read_npy(path, ids) if path.suffix == ".npy" else _read_parquet(path)
    place = {name: row for row, name in enumerate(names)}
    if len(place) < len(names):
        double = [name for name, count in Counter(names).items() if count > 1]
        raise BankError(f"{path}: {len(double)} face ids are there more than once: {', '.join(double[:5])}")
    wanted = manifest.faces["face_id"].to_pylist()
    unknown = sorted(place.keys() - set(wanted))
    if len(unknown) == len(names):
        raise BankError(
            f"{path}: none of its {len(names)} face ids is in the manifest; it has ids like "
            f"{', '.join(names[:2]) or '(none)'}, the manifest like {', '.join(wanted[:2]) or '(none)'}"
        )
    if unknown:
        first = ", ".join(unknown[:5])
        log.warning("%s: left out %d faces that the manifest lacks: %s", path, len(unknown), first)
    rows = np.array([place.get(name, -1) for name in wanted])
    aligned = np.where((rows >= 0)[:, None], vectors[rows], np.nan).astype(np.float32)
    # A zero vector has no direction to learn from, so it counts as none, like one that is not finite.
    useless = ~(np.isfinite(aligned).all(axis=1) & (np.abs(aligned).max(axis=1) > 0))
    aligned[useless] = np.nan
    problems = [
        None if good else ("embedding is zero or not finite" if row >= 0 else f"not in {path.name}")
        for row, good in zip(rows, ~useless, strict=True)
    ]
    return build(
        manifest.faces,
        aligned,
        model=model,
        digest=sha256_of(path),
        manifest_digest=manifest.digest,
        problems=problems,
    )


def _beside(dimension: int) -> pa.Schema:
    """The columns beside the embeddings."""
    whole = schema(dimension)
    return whole.remove(whole.get_field_index(COLUMN))


def _header(text: bytes) -> dict[str, Any]:
    """What a bank says of itself; KeyError or ValueError where it does not."""
    found = from_json(text)
    header = {name: found[name] for name in HEADER}
    dimension = header["dimension"]
    if type(dimension) is not int or not 1 <= dimension <= MOST_NUMBERS:
        raise ValueError(f"embeddings of {str(dimension)[:40]} numbers")
    if not all(isinstance(header[name], str) for name in HEADER if name != "dimension"):
        raise ValueError("a digest or a name in it is no text")
    return header


def _signal(values: np.ndarray | None, count: int) -> pa.Array:
    """A quality column; NaN becomes null."""
    if values is None:
        return pa.nulls(count, pa.float32())
    return pa.array(np.asarray(values, dtype=np.float32), from_pandas=True)


def _read_npy(path: Path, ids: str | Path | None) -> tuple[list[str], np.ndarray]:
    if ids is None:
        raise BankError(f"{path}: a .npy file needs `ids`, a text file with one face_id a line")
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        names = Path(ids).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise BankError(f"{path} with ids {ids}: unreadable ({error})") from error
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):
        raise BankError(f"{path}: is {vectors.dtype} {list(vectors.shape)}, not floats [faces, dimension]")
    if len(names) != len(vectors):
        raise BankError(f"{path}: {len(vectors)} embeddings but {len(names)} ids in {ids}")
    return names, vectors


def _read_parquet(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        table = parquet.table(path, ["face_id", "embedding"])
    except (OSError, pa.ArrowException) as error:
        raise BankError(f"{path}: not .npy, nor Parquet with face_id and embedding ({error})") from error
    lengths = set(pc.list_value_length(table["embedding"].drop_null()).to_pylist())
    if len(lengths) != 1:
        raise BankError(f"{path}: embeddings have {len(lengths)} different lengths, not one")
    return table["face_id"].to_pylist(), stores.of_lists(table["embedding"], lengths.pop())
