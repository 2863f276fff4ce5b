"""Quality of a face image: an aligned crop, landmarks or embeddings in, one number a face out (higher is better).

The fifth signal, the detector's own score, comes from `detect`. These are raw signals: standardising and
squashing them into weights is the training's business.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from vgsr.teachers.align import TEMPLATE

NOSE = 2  # of the five landmarks; the other four lie nearly in one plane
FRONTAL_NOSE = np.array([56.0, 75.5])
"""Where YuNet puts the nose of people who look into the camera, in the template's pixels: the median of 24 posed
portraits (our figure). The template's own nose lies 4 pixels higher, as if all of them looked down by 14 degrees."""

NOSE_HEIGHT = 16.0
"""How far the tip of the nose stands out of the plane of eyes and mouth corners, in the template's pixels: 0.45 of the
distance between the eyes, 28 mm of 63 mm (our figure)."""

BLOCK = 16384
"""Faces that are held in float64 at a time."""


def pose(landmarks: np.ndarray) -> float:
    """How frontal a face with `landmarks` [5, 2] is: cosine of the angle between its normal and the camera, in 0..1.

    Our definition. The affine map that best takes eyes and mouth corners onto ArcFace's template undoes how their
    plane is turned, scaled and shifted. It takes the tip of the nose d pixels away from a frontal one's, because the
    nose stands h out of that plane: seen at an angle a, d = h tan(a). So the cosine is h / sqrt(h² + d²), exactly so
    for a camera far away. NaN where eyes and mouth lie on one line.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    plane = np.delete(np.arange(5), NOSE)
    design = np.column_stack([points[plane] - points[plane].mean(axis=0), np.ones(4)])
    mapping, _, rank, _ = np.linalg.lstsq(design, TEMPLATE[plane], rcond=1e-6)
    if rank < 3:
        return float("nan")
    nose = np.append(points[NOSE] - points[plane].mean(axis=0), 1.0) @ mapping
    return float(NOSE_HEIGHT / np.hypot(NOSE_HEIGHT, np.linalg.norm(nose - FRONTAL_NOSE)))


def agreement(embeddings: np.ndarray, people: Sequence[str]) -> np.ndarray:
    """Cosine [n] (float32) of each face to the centre of the same person's other faces; `people` names their persons.

    Faces are scaled to unit length first, the centre is their mean (our definition). A face of someone else, or one
    that shows little, scores low. NaN where the person has no other face, for rows of `embeddings` [n, d] without an
    embedding (NaN), and where the other faces cancel out.
    """
    found = np.full(len(embeddings), np.nan, np.float32)
    length = lengths(embeddings)
    usable = np.flatnonzero(np.isfinite(length) & (length > 0))
    _, person, faces = np.unique(np.asarray(people, str)[usable], return_inverse=True, return_counts=True)
    usable = usable[np.argsort(person, kind="stable")]  # a person's faces side by side
    ends = np.cumsum(faces)
    # Some persons at a time: all of a large bank in float64 would be several gigabytes.
    for some in np.split(np.arange(len(faces)), np.flatnonzero(np.diff(ends // BLOCK)) + 1):
        if not len(some):
            continue
        rows, count = usable[ends[some[0]] - faces[some[0]] : ends[some[-1]]], faces[some]
        unit = embeddings[rows] / length[rows, None]
        sums = np.add.reduceat(unit, np.cumsum(count) - count)
        others = np.repeat(sums, count, axis=0) - unit
        size = np.linalg.norm(others, axis=1)
        # Unit vectors summed in float64 leave 1e-16 a face of what cancels out.
        told = (np.repeat(count, count) > 1) & (size > 1e-9)
        found[rows[told]] = np.einsum("ij,ij->i", unit[told], others[told]) / size[told]
    return found


def sharpness(face: np.ndarray) -> float:
    """log(1 + variance of the Laplacian) of an aligned face [112, 112, 3] (RGB, uint8).

    The variance of the Laplacian is the focus measure of Pech-Pacheco et al. (ICPR 2000); the logarithm is
    ours, because the variance spans several orders of magnitude.
    """
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    return float(np.log1p(np.asarray(cv2.Laplacian(grey, cv2.CV_64F)).var()))


def norms(embeddings: np.ndarray) -> np.ndarray:
    """L2 norm [n] (float32) of raw embeddings [n, d]; NaN for a row without an embedding.

    Networks trained with a normalised softmax give blurred and turned faces shorter embeddings
    (Ranjan et al. 2017; Meng et al., "MagFace", CVPR 2021).
    """
    return lengths(embeddings).astype(np.float32)


def lengths(embeddings: np.ndarray) -> np.ndarray:
    """L2 norm [n] (float64) of rows; summed in float64, some rows at a time."""
    blocks = (embeddings[first : first + BLOCK] for first in range(0, len(embeddings), BLOCK))
    return np.concatenate([np.empty(0), *(np.linalg.norm(block.astype(np.float64), axis=1) for block in blocks)])
