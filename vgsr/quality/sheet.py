"""Contact sheets: pictures with captions in, one large picture for a person to look at out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vgsr.teachers import detect
from vgsr.teachers.align import align

SIDE = 144  # pixels of a tile
GAP = 8
LINE = 28  # height of a line of text
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True)
class Strip:
    """A row of a sheet: a heading, and tiles [SIDE, SIDE, 3] (RGB, uint8) with a caption each."""

    heading: str
    tiles: Sequence[np.ndarray]
    captions: Sequence[str]


def tile(image: np.ndarray, detector: detect.Detector) -> np.ndarray:
    """The aligned face of `image` [H, W, 3] as the teacher sees it, or the whole image where no face is found."""
    face = detect.find(detector, image)
    seen = image if face is None else align(image, face.landmarks)
    scale = SIDE / max(seen.shape[:2])
    width, height = (max(1, round(scale * side)) for side in (seen.shape[1], seen.shape[0]))
    small = cv2.resize(seen, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    square[top : top + height, left : left + width] = small
    return square


def compose(strips: Sequence[Strip]) -> np.ndarray:
    """One picture [H, W, 3] (RGB, uint8), strip below strip, black on white."""
    columns = max(len(strip.tiles) for strip in strips)
    height = LINE + SIDE + LINE + GAP
    page = np.full((len(strips) * height + GAP, columns * (SIDE + GAP) + GAP, 3), WHITE, np.uint8)
    for row, strip in enumerate(strips):
        top = row * height
        _write(page, strip.heading, GAP, top + LINE - GAP, 0.65)
        for column, (picture, caption) in enumerate(zip(strip.tiles, strip.captions, strict=True)):
            left = GAP + column * (SIDE + GAP)
            page[top + LINE : top + LINE + SIDE, left : left + SIDE] = picture
            _write(page, caption, left, top + LINE + SIDE + LINE - GAP, 0.55)
    return page


def save(path: Path, page: np.ndarray) -> None:
    """Write a picture [H, W, 3] (RGB, uint8) as a JPEG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", cv2.cvtColor(page, cv2.COLOR_RGB2BGR))[1].tobytes())


def _write(page: np.ndarray, text: str, left: int, baseline: int, size: float) -> None:
    cv2.putText(page, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, size, BLACK, 1, cv2.LINE_AA)
