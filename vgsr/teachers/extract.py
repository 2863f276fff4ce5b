"""A teacher at work: pictures of faces in, their embeddings and quality signals out.

A `Teacher` is a loaded one; `TeacherFiles` is what it is loaded from, on this machine or another. A bad picture is no
error: it has no embedding, and a reason instead.
"""

import io
import json
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vgsr.storage import StorageError, local, read_bytes, remote, stat
from vgsr.teachers import detect, embed, frames, quality, weights
from vgsr.teachers.align import align
from vgsr.teachers.bank import BankError
from vgsr.teachers.detect import Face

SEEN = ("sharpness", "detection", "pose")
"""Signals measured while an image is looked at; the bank measures the others from its embeddings."""

PICTURES = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
BLOCK = 16  # faces that a thread embeds at once


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


@dataclass(frozen=True)
class TeacherFiles:
    """What a teacher is made of: its network, called `name`, how that wants its pixels, and the detector's weights.

    padding: the border before detecting, as a share of the longer side.
    """

    name: str
    network: bytes
    feed: embed.Feed
    detector: bytes
    padding: float

    def load(self, gpu: bool = False) -> Teacher:
        """The teacher, its network on the CPU or, where onnxruntime has CUDA, on a GPU. Raises embed.ModelError."""
        network = embed.build(self.network, self.feed, name=self.name, gpu=gpu)
        detector = detect.Detector(self.detector, padding=self.padding)

        def look(image: np.ndarray) -> tuple[np.ndarray, Face] | None:
            face = detect.find(detector, image)
            return None if face is None else (align(image, face.landmarks), face)

        found = {"detector": weights.YUNET.sha256, "padding": self.padding, "threshold": detector.threshold}
        return Teacher(
            name=network.name,
            digest=network.digest,
            dimension=network.dimension,
            recipe=json.dumps({"feed": asdict(self.feed), **found}),
            look=look,
            embed=lambda faces: embed.embed(network, faces),
        )


@dataclass(frozen=True)
class Seen:
    """What a teacher makes of n pictures: embeddings [n, d] and signals [n], NaN where `problems` has a reason."""

    embeddings: np.ndarray
    signals: dict[str, np.ndarray]
    problems: list[str | None]


def teacher_files(
    model: str | Path | None = None,
    *,
    feed: embed.Feed | None = None,
    weights_folder: str | Path | None = None,
    padding: float = 0.5,
) -> TeacherFiles:
    """The default teacher (SFace), or the ArcFace-style ONNX network at `model` (a path, or on s3), on YuNet's faces.

    `feed` says how the network wants its pixels (default: SFace's own way for SFace, else ArcFace's);
    `weights_folder` holds the default weights. Raises weights.WeightError, StorageError.
    """
    path = weights.locate(weights.SFACE, weights_folder) if model is None else local(model)
    own = weights.sha256_of(path) == weights.SFACE.sha256
    return TeacherFiles(
        name=weights.SFACE.name if own else Path(str(model)).stem,
        network=path.read_bytes(),
        feed=feed or (embed.SFACE_FEED if own else embed.ARCFACE_FEED),
        detector=weights.locate(weights.YUNET, weights_folder).read_bytes(),
        padding=padding,
    )


def see(teacher: Teacher, places: Sequence[str], pool: Executor) -> Seen:
    """The faces in the pictures at `places`; all is done in the threads of `pool`."""
    count = len(places)
    embeddings = np.full((count, teacher.dimension), np.nan, dtype=np.float32)
    signals = {name: np.full(count, np.nan, dtype=np.float32) for name in SEEN}
    problems: list[str | None] = [None] * count

    def look(place: str) -> tuple[np.ndarray, Face] | str:
        try:
            return teacher.look(read_image(place)) or "no face found"
        except BankError as error:
            return str(error)
        except cv2.error as error:
            return f"image cannot be used ({error.err})"

    crops, rows = [], []
    for row, seen in enumerate(pool.map(look, places)):
        if isinstance(seen, str):
            problems[row] = seen
            continue
        crop, face = seen
        rows.append(row)
        crops.append(crop)
        signals["sharpness"][row] = quality.sharpness(crop)
        signals["detection"][row] = face.score
        signals["pose"][row] = quality.pose(face.landmarks)
    blocks = [np.stack(crops[first : first + BLOCK]) for first in range(0, len(crops), BLOCK)]
    if blocks:
        embeddings[rows] = np.concatenate(list(pool.map(teacher.embed, blocks)))
    for row in rows:
        if not np.isfinite(embeddings[row]).all():
            problems[row] = "the network's embedding is not finite"
    return Seen(embeddings, signals, problems)


def read_image(place: str | Path) -> np.ndarray:
    """The image [H, W, 3] (RGB, uint8), upright as its EXIF says; BankError with the reason it cannot.

    The place may be that of a video's frame (`vgsr.teachers.frames`). StorageError where a store does not answer: that
    says nothing about the image.
    """
    video, seconds = frames.parted(str(place))
    if seconds is not None:
        return frames.frame(_copy(video), seconds)
    try:
        content = np.frombuffer(read_bytes(place), np.uint8)
    except StorageError as error:
        if remote(place):
            if stat(place) is not None:
                raise
            raise BankError("image cannot be read (there is no such object)") from error
        raise BankError(f"image cannot be read ({str(error).rpartition(': ')[2]})") from error
    if not content.size:
        raise BankError("image file is empty")
    _check_size(content)
    image = cv2.imdecode(content, cv2.IMREAD_COLOR)
    if image is None:
        raise BankError("not an image, or a damaged one")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _check_size(content: np.ndarray) -> None:
    """BankError for a picture whose header, which is all that is looked at, says that it is a huge one.

    Some kilobytes of PNG may stand for gigabytes of pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content.tobytes()), formats=PICTURES) as header:
                width, height = header.size
    except Image.DecompressionBombError as error:
        raise BankError(f"image has too many pixels ({error})") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise BankError("not an image, or a damaged one") from error
    if width * height > frames.MOST_PIXELS:
        raise BankError(f"image of {width:,} × {height:,} pixels; at most {frames.MOST_PIXELS:,} are decoded")


def _copy(place: str) -> str | Path:
    """A file of this machine, or this node's copy of one on S3."""
    try:
        return local(place) if remote(place) else place
    except StorageError as error:
        if stat(place) is not None:
            raise
        raise BankError("video cannot be read (there is no such object)") from error
