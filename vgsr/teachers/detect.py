"""Face detection: an RGB image in, the talker's box, five landmarks and score out (or None).

YuNet (Wu et al., "YuNet: a tiny millisecond-level face detector", 2023) through OpenCV. Frames of talkers are
often cropped so tightly that the face fills them, so the image gets a black border before detecting.
"""

import threading
from dataclasses import dataclass, field

import cv2
import numpy as np

LONGEST_SIDE = 640
"""Larger images are shrunk to this many pixels first: the detector was trained for faces below 300."""

SMALLEST_SIDE = 16
"""Below this many pixels there is no face to find, and resizing may leave nothing."""

FALLBACK_SCALES = (0.5, 2.0)
"""Sizes tried in turn when nothing is found at the first: faces too large, then faces too small."""

_BUILDING = threading.Lock()


@dataclass(frozen=True)
class Face:
    """One face in the pixel coordinates of the original image.

    `box` [4] is left, top, width, height; `landmarks` [5, 2] are the eyes, the nose tip and the mouth
    corners, each pair image-left first; `score` in 0..1 is the detector's confidence.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float


@dataclass(frozen=True)
class Detector:
    """YuNet's weights and settings; each thread builds a network of its own when it first needs one."""

    weights: bytes = field(repr=False)
    padding: float = 0.5
    threshold: float = 0.6
    networks: threading.local = field(default_factory=threading.local, repr=False, compare=False)


def find(detector: Detector, image: np.ndarray) -> Face | None:
    """The largest face of `image` [H, W, 3] (RGB, uint8) scoring at least the threshold, or None.

    The border is `padding` times the longer side, on every edge.
    """
    height, width = image.shape[:2]
    border = round(max(height, width) * detector.padding)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    padded = cv2.copyMakeBorder(bgr, border, border, border, border, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    first = min(1.0, LONGEST_SIDE / max(height, width))
    for scale in (first, *(first * factor for factor in FALLBACK_SCALES)):
        if min(padded.shape[:2]) * scale < SMALLEST_SIDE:
            continue
        rows = _detect(detector, padded, scale)
        if len(rows):
            best = rows[np.argmax(rows[:, 2] * rows[:, 3])]
            box = best[:4] / scale - np.array([border, border, 0, 0])
            return Face(box, best[4:14].reshape(5, 2) / scale - border, float(best[14]))
    return None


def _detect(detector: Detector, image: np.ndarray, scale: float) -> np.ndarray:
    """YuNet's rows [faces, 15] (box, landmarks, score) in the coordinates of the scaled image."""
    if scale != 1.0:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    network = _network(detector)
    network.setInputSize((image.shape[1], image.shape[0]))
    rows = network.detect(image)[1]
    if rows is None:
        return np.empty((0, 15), dtype=np.float64)
    return np.asarray(rows, dtype=np.float64)


def _network(detector: Detector) -> cv2.FaceDetectorYN:
    if not hasattr(detector.networks, "yunet"):
        # OpenCV 5 warns at each construction that it ignores the device asked for, which is the CPU anyway;
        # its log level is one for all threads.
        with _BUILDING:
            level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
            detector.networks.yunet = cv2.FaceDetectorYN.create(
                "onnx",
                np.frombuffer(detector.weights, np.uint8),
                np.empty(0, np.uint8),
                (320, 320),
                score_threshold=detector.threshold,
            )
            cv2.utils.logging.setLogLevel(level)
    network: cv2.FaceDetectorYN = detector.networks.yunet
    return network
