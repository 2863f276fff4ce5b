"""Teaching: the faces of a manifest in, a teacher bank out.

Every face image is decoded, its face detected and aligned (a few threads), and embedded in batches. Finished
parts lie beside the bank until it is complete, so a killed run goes on where it was. A bad image never stops
the run: its row has no embedding, and the column `problem` says why.
"""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from vgsr.data.manifest import Manifest
from vgsr.teachers import bank as banks
from vgsr.teachers import detect, embed, quality, weights
from vgsr.teachers.align import align
from vgsr.teachers.bank import Bank, BankError
from vgsr.teachers.detect import Face

PART = 256
"""Faces in one part: what a killed run computes again, at most."""

SEEN = ("sharpness", "detection", "pose")
"""Signals measured while an image is looked at; the bank measures the others from its embeddings."""


@dataclass(frozen=True)
class Teacher:
    """A frozen teacher, as a bank needs it.

    `look` turns an image [H, W, 3] (RGB, uint8) into an aligned face [112, 112, 3] and what the detector found,
    or None where it sees no face; `embed` turns faces [n, 112, 112, 3] into raw embeddings [n, dimension].
    `digest` and `recipe` name the weights and the settings: when either changes, nothing old is used again.
    """

    name: str
    digest: str
    dimension: int
    recipe: str
    look: Callable[[np.ndarray], tuple[np.ndarray, Face] | None]
    embed: Callable[[np.ndarray], np.ndarray]


def load_teacher(
    model: str | Path | None = None,
    *,
    feed: embed.Feed | None = None,
    weights_folder: str | Path | None = None,
    padding: float = 0.5,
) -> Teacher:
    """The default teacher (SFace), or the ArcFace-style ONNX network at `model`, on YuNet's faces.

    `feed` says how the network wants its pixels (default: SFace's own way for SFace, else ArcFace's);
    `weights_folder` holds the default weights; `padding` is the border before detecting, as a share of the
    longer side. Raises weights.WeightError, embed.ModelError.
    """
    path = Path(model) if model is not None else weights.locate(weights.SFACE, weights_folder)
    own = path.is_file() and weights.sha256_of(path) == weights.SFACE.sha256
    feed = feed or (embed.SFACE_FEED if own else embed.ARCFACE_FEED)
    network = embed.load(path, feed, name=weights.SFACE.name if own else None)
    detector = detect.Detector(weights.locate(weights.YUNET, weights_folder), padding=padding)

    def look(image: np.ndarray) -> tuple[np.ndarray, Face] | None:
        face = detect.find(detector, image)
        return None if face is None else (align(image, face.landmarks), face)

    found = {"detector": weights.YUNET.sha256, "padding": padding, "threshold": detector.threshold}
    return Teacher(
        name=network.name,
        digest=network.digest,
        dimension=network.dimension,
        recipe=json.dumps({"feed": asdict(feed), **found}),
        look=look,
        embed=lambda faces: embed.embed(network, faces),
    )


def teach(
    manifest: Manifest,
    out: str | Path,
    teacher: Teacher,
    *,
    part: int = PART,
    workers: int | None = None,
    console: Console | None = None,
) -> Bank:
    """Run `teacher` over all faces of `manifest`, write the bank to the file `out` and return it.

    A bank that is already there from the same teacher and manifest is returned as it is. Parts of `part`
    faces are kept in the folder `out` + ".parts" until the bank is written. `workers` threads read and
    detect (default: one a core, at most 8). Raises BankError for a manifest without faces.
    """
    out = Path(out)
    faces = manifest.faces
    if not len(faces):
        raise BankError(f"{manifest.path}: the manifest has no faces, so there is nothing to teach from")
    if faces["uri"][0].as_py().startswith("bank://"):
        raise BankError(
            f"{manifest.path}: its faces are no pictures; the corpus came with a bank of its own, in banks/"
        )
    done = _finished(out, teacher, manifest, faces)
    if done is not None:
        return done
    folder = out.with_name(f"{out.name}.parts")
    files = []
    with _progress(console) as bar, ThreadPoolExecutor(workers or min(os.cpu_count() or 1, 8)) as pool:
        task = bar.add_task("faces", total=len(faces), lost=0)
        for start in range(0, len(faces), part):
            rows = faces.slice(start, part)
            files.append(folder / f"part-{start:09d}.parquet")
            found = _finished(files[-1], teacher, manifest, rows)
            if found is None:
                found = banks.write(files[-1], _teach_part(manifest, rows, teacher, pool, bar, task))
            lost = bar.tasks[task].fields["lost"] + found.table["embedding"].null_count
            bar.update(task, completed=start + len(rows), lost=lost)
    finished = banks.write(out, _assemble(files, faces, teacher, manifest))
    shutil.rmtree(folder)
    return finished


def read_image(path: str | Path) -> np.ndarray:
    """The image [H, W, 3] (RGB, uint8), upright as its EXIF says; BankError with the reason it cannot."""
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise BankError(f"image cannot be read ({error.strerror or error})") from error
    if not content.size:
        raise BankError("image file is empty")
    image = cv2.imdecode(content, cv2.IMREAD_COLOR)
    if image is None:
        raise BankError("not an image, or a damaged one")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _finished(path: Path, teacher: Teacher, manifest: Manifest, faces: pa.Table) -> Bank | None:
    """The bank at `path` if it is exactly this teacher's view of exactly these faces."""
    try:
        found = banks.read(path)
    except BankError:
        return None
    key = (teacher.digest, teacher.recipe, manifest.digest)
    same = key == (found.digest, found.recipe, found.manifest_digest)
    return found if same and found.table["face_id"].equals(faces["face_id"]) else None


def _teach_part(
    manifest: Manifest,
    faces: pa.Table,
    teacher: Teacher,
    pool: ThreadPoolExecutor,
    bar: Progress,
    task: TaskID,
) -> Bank:
    count = len(faces)
    embeddings = np.full((count, teacher.dimension), np.nan, dtype=np.float32)
    signals = {name: np.full(count, np.nan, dtype=np.float32) for name in SEEN}
    problems: list[str | None] = [None] * count

    def look(uri: str) -> tuple[np.ndarray, Face] | str:
        try:
            return teacher.look(read_image(manifest.file(uri))) or "no face found"
        except BankError as error:
            return str(error)
        except cv2.error as error:
            return f"image cannot be used ({error.err})"

    crops, rows = [], []
    for row, seen in enumerate(pool.map(look, faces["uri"].to_pylist())):
        bar.advance(task)
        if isinstance(seen, str):
            problems[row] = seen
            continue
        crop, face = seen
        rows.append(row)
        crops.append(crop)
        signals["sharpness"][row] = quality.sharpness(crop)
        signals["detection"][row] = face.score
        signals["pose"][row] = quality.pose(face.landmarks)
    if crops:
        embeddings[rows] = teacher.embed(np.stack(crops))
    for row in rows:
        if not np.isfinite(embeddings[row]).all():
            problems[row] = "the network's embedding is not finite"
    return _bank(faces, embeddings, signals, problems, teacher, manifest)


def _assemble(files: list[Path], faces: pa.Table, teacher: Teacher, manifest: Manifest) -> Bank:
    parts = [banks.read(file) for file in files]
    table = pa.concat_tables([part.table for part in parts])
    signals = {name: table[f"face_{name}"].to_numpy() for name in SEEN}
    embeddings = np.concatenate([part.matrix() for part in parts])
    return _bank(faces, embeddings, signals, table["problem"].to_pylist(), teacher, manifest)


def _bank(
    faces: pa.Table,
    embeddings: np.ndarray,
    signals: dict[str, np.ndarray],
    problems: list[str | None],
    teacher: Teacher,
    manifest: Manifest,
) -> Bank:
    return banks.build(
        faces,
        embeddings,
        model=teacher.name,
        digest=teacher.digest,
        manifest_digest=manifest.digest,
        recipe=teacher.recipe,
        problems=problems,
        **signals,
    )


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("without a face: {task.fields[lost]}"),
        TimeRemainingColumn(),
        console=console,
    )
