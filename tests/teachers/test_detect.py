"""Face detection on real frames: found, in the original's coordinates, whatever the crop and the size."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from vgsr.teachers import detect
from vgsr.teachers.extract import read_image


@pytest.fixture
def frame(shared_data: Path) -> np.ndarray:
    return read_image(sorted((shared_data / "ravdess").glob("Actor_*/face.png"))[0])


@pytest.fixture
def detector(yunet: Path) -> detect.Detector:
    return detect.Detector(yunet.read_bytes())


def found(detector: detect.Detector, image: np.ndarray) -> detect.Face:
    face = detect.find(detector, image)
    assert face is not None
    return face


def test_landmarks_lie_in_the_box_in_anatomical_order(detector: detect.Detector, frame: np.ndarray) -> None:
    face = found(detector, frame)
    left, top, width, height = face.box
    assert ((face.landmarks >= [left, top]) & (face.landmarks <= [left + width, top + height])).all()
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert 0.6 <= face.score <= 1


def test_landmarks_do_not_depend_on_the_padding(detector: detect.Detector, frame: np.ndarray) -> None:
    plain = found(detect.Detector(detector.weights, padding=0), frame)
    size = plain.box[2]
    assert np.abs(found(detector, frame).landmarks - plain.landmarks).max() < 0.05 * size


@pytest.mark.parametrize("scale", [0.5, 1, 4, 8])
def test_any_size_of_image_is_read(detector: detect.Detector, frame: np.ndarray, scale: float) -> None:
    first = found(detector, frame)
    scaled = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    again = found(detector, scaled)
    assert np.abs(again.landmarks / scale - first.landmarks).max() < 0.1 * first.box[2]


def test_a_crop_as_tight_as_the_face_is_found(detector: detect.Detector, frame: np.ndarray) -> None:
    first = found(detector, frame)
    left, top, width, height = first.box.astype(int)
    again = found(detector, np.ascontiguousarray(frame[top : top + height, left : left + width]))
    assert np.abs(again.landmarks + np.array([left, top]) - first.landmarks).max() < 0.1 * width


def test_the_larger_of_two_faces_is_taken(detector: detect.Detector, frame: np.ndarray) -> None:
    small = cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    both = np.zeros((frame.shape[0], frame.shape[1] + small.shape[1], 3), np.uint8)
    both[: small.shape[0], : small.shape[1]] = small
    both[:, small.shape[1] :] = frame
    assert found(detector, both).box[0] >= small.shape[1]


def test_no_face_is_none(detector: detect.Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    assert detect.find(detector, noise) is None
    assert detect.find(detector, np.zeros((1, 1, 3), np.uint8)) is None
