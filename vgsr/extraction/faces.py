"""Teaching: the faces of a manifest in, a teacher bank out.

A bad picture never stops the work: its row has no embedding, and the column `problem` says why.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import pyarrow as pa
from rich.console import Console

import vgsr
from vgsr import storage
from vgsr.data.manifest import Manifest
from vgsr.extraction import parts, pool
from vgsr.extraction.parts import Function
from vgsr.teachers import bank as banks
from vgsr.teachers.bank import Bank, BankError
from vgsr.teachers.extract import SEEN, Teacher, see
from vgsr.teachers.vectors import of_lists


class Loadable(Protocol):
    """What a teacher is loaded from, in this process or an actor: `teachers.extract.TeacherFiles`."""

    @property
    def load(self) -> Callable[[bool], Teacher]: ...


@dataclass(frozen=True)
class Faces:
    """The work: every face is looked at by a teacher; `of` is that one's digest and recipe."""

    source: Loadable
    of: str

    title = "faces"
    lost = "without a face"
    schema = pa.schema(
        [("embedding", pa.list_(pa.float32())), *((name, pa.float32()) for name in SEEN), ("problem", pa.string())]
    )

    @property
    def key(self) -> str:
        return f"faces {vgsr.__version__} {self.of}"

    def rows(self, manifest: Manifest) -> pa.Table:
        return manifest.faces

    def start(self, manifest: Manifest, threads: int, gpu: bool) -> Function:
        cv2.setNumThreads(1)  # the pool's threads look at one picture each
        teacher, workers = self.source.load(gpu), ThreadPoolExecutor(threads)

        def function(rows: pa.Table) -> pa.Table:
            seen = see(teacher, [manifest.file(uri) for uri in rows["uri"].to_pylist()], workers)
            columns = [_lists(seen.embeddings, seen.problems), *(seen.signals[name] for name in SEEN), seen.problems]
            return pa.table([pa.array(c, f.type) for c, f in zip(columns, self.schema, strict=True)], self.schema)

        return function


def teach(
    manifest: Manifest,
    out: str,
    source: Loadable,
    *,
    actors: int = 0,
    gpu: bool = False,
    console: Console | None = None,
) -> Bank:
    """Run a teacher over all faces of `manifest`, write the bank to the place `out` and return it.

    A bank that is already there from the same teacher and manifest is returned as it is. Finished parts are kept in
    `out` + ".parts" until the bank is written; `actors` and `gpu` as in `pool.run`. Raises BankError for a manifest
    without faces, and ExtractionError.
    """
    faces = manifest.faces
    if not len(faces):
        raise BankError(f"{manifest.place}: the manifest has no faces, so there is nothing to teach from")
    if faces["uri"][0].as_py().startswith("bank://"):
        raise BankError(
            f"{manifest.place}: its faces are no pictures; the corpus came with a bank of its own, in banks/"
        )
    teacher = source.load(gpu)
    done = _finished(out, teacher, manifest)
    if done is not None:
        return done
    folder = f"{out}.parts"
    work = Faces(source, f"{teacher.digest} {teacher.recipe}")
    made = pool.run(work, manifest, folder, actors=actors, gpu=gpu, console=console)
    bank = banks.write(out, _bank(manifest, teacher, pa.concat_tables(parts.finished(folder, made))))
    parts.clear(folder)
    return bank


def _finished(place: str, teacher: Teacher, manifest: Manifest) -> Bank | None:
    """The bank at a place if it is exactly this teacher's view of exactly these faces."""
    if storage.stat(place) is None:
        return None
    try:
        found = banks.read(place)
    except BankError:
        return None
    key = (teacher.digest, teacher.recipe, manifest.digest)
    same = key == (found.digest, found.recipe, found.manifest_digest)
    return found if same and found.table["face_id"].equals(manifest.faces["face_id"]) else None


def _bank(manifest: Manifest, teacher: Teacher, results: pa.Table) -> Bank:
    return banks.build(
        manifest.faces,
        of_lists(results["embedding"], teacher.dimension),
        model=teacher.name,
        digest=teacher.digest,
        manifest_digest=manifest.digest,
        recipe=teacher.recipe,
        problems=results["problem"].to_pylist(),
        **{name: results[name].to_numpy() for name in SEEN},
    )


def _lists(embeddings: np.ndarray, problems: Sequence[str | None]) -> list[np.ndarray | None]:
    return [None if problem else row for row, problem in zip(embeddings, problems, strict=True)]
