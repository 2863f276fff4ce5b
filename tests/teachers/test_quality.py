"""Quality signals against scalar loops and turned heads."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr.teachers import quality
from vgsr.teachers.align import TEMPLATE
from vgsr.teachers.quality import FRONTAL_NOSE, NOSE, NOSE_HEIGHT


def test_sharpness_is_the_log_variance_of_the_laplacian() -> None:
    face = np.random.default_rng(1).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(float)
    padded = np.pad(grey, 1, mode="reflect")
    laplacian = [
        padded[y, x + 1] + padded[y + 2, x + 1] + padded[y + 1, x] + padded[y + 1, x + 2] - 4 * grey[y, x]
        for y in range(112)
        for x in range(112)
    ]
    assert quality.sharpness(face) == pytest.approx(np.log(1 + np.var(laplacian)))


def test_blur_lowers_sharpness_and_a_flat_face_has_none() -> None:
    face = np.random.default_rng(2).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(face, (0, 0), 2)
    assert quality.sharpness(face) > quality.sharpness(blurred) > quality.sharpness(np.full_like(face, 90)) == 0


def test_norms_keep_missing_rows_missing() -> None:
    rows = np.array([[3, 4], [np.nan, np.nan], [0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(quality.norms(rows), np.array([5, np.nan, 0], np.float32))


def head(nose_height: float = NOSE_HEIGHT, mouth_depth: float = 0.0) -> np.ndarray:
    """Five landmarks [5, 3] of a head that looks into the camera; z points at the camera."""
    points = np.column_stack([TEMPLATE, np.zeros(5)])
    points[NOSE] = [*FRONTAL_NOSE, nose_height]
    points[3:, 2] = mouth_depth
    return points - points.mean(axis=0)


def turned(points: np.ndarray, yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """`points` [n, 3] turned by three angles in degrees: about the vertical, the horizontal, the viewing axis."""
    for angle, (one, other) in ((yaw, (0, 2)), (pitch, (1, 2)), (roll, (0, 1))):
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        points = points.copy()
        points[:, one], points[:, other] = (
            cosine * points[:, one] + sine * points[:, other],
            cosine * points[:, other] - sine * points[:, one],
        )
    return points


angles = st.floats(-80, 80)


@given(yaw=angles, pitch=angles, roll=st.floats(-180, 180), scale=st.floats(0.1, 10), shift=st.floats(-500, 500))
def test_pose_is_the_cosine_between_the_face_and_a_distant_camera(
    yaw: float, pitch: float, roll: float, scale: float, shift: float
) -> None:
    expected = math.cos(math.radians(yaw)) * math.cos(math.radians(pitch))
    seen = scale * turned(head(), yaw, pitch, roll)[:, :2] + shift
    assert quality.pose(seen) == pytest.approx(expected, abs=1e-6)


@given(
    nose=st.floats(10, 24),
    mouth=st.floats(-4, 4),
    sideways=st.booleans(),
    sign=st.sampled_from([-1, 1]),
    roll=st.floats(-90, 90),
)
def test_pose_falls_as_any_head_turns_away_from_a_near_camera(
    nose: float, mouth: float, sideways: bool, sign: int, roll: float
) -> None:
    values = []
    for angle in range(15, 80, 8):
        yaw, pitch = (sign * angle, 0) if sideways else (0, sign * angle)
        points = turned(head(nose, mouth), yaw, pitch, roll)
        values.append(quality.pose(points[:, :2] * 500 / (500 - points[:, 2:])))
    assert values[-1] > 0 and values[0] <= 1 and (np.diff(values) < 0).all()


def test_landmarks_on_a_line_have_no_pose() -> None:
    assert math.isnan(quality.pose(np.column_stack([np.arange(5), 2 * np.arange(5)])))
    assert math.isnan(quality.pose(np.ones((5, 2))))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([1, 2, 3, None])), max_size=9), st.integers(0, 9))
def test_agreement_is_with_the_other_faces_of_the_same_person(faces: list[tuple[str, int | None]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    people = [person for person, _ in faces]
    rows = np.array([rng.normal(size=4) * scale if scale else [np.nan] * 4 for _, scale in faces]).reshape(-1, 4)
    found = quality.agreement(rows.astype(np.float32), people)
    for row, (person, scale) in enumerate(faces):
        others = [rows[i] for i in range(len(faces)) if i != row and people[i] == person and faces[i][1]]
        if not scale or not others:
            assert math.isnan(found[row])
            continue
        centre = [sum(other[k] / math.hypot(*other) for other in others) for k in range(4)]
        product = sum(rows[row][k] * centre[k] for k in range(4))
        assert found[row] == pytest.approx(product / math.hypot(*rows[row]) / math.hypot(*centre), abs=1e-5)


def test_a_wrong_face_agrees_least_and_faces_that_cancel_out_say_nothing() -> None:
    rows = np.array([[1, 0.1], [3, 0.2], [2, -0.1], [0, 1]], np.float32)
    assert quality.agreement(rows, ["a"] * 4).argmin() == 3
    cancelling = np.array([[2, 0], [-1, 0], [0, 1]], np.float32)
    np.testing.assert_array_equal(np.isnan(quality.agreement(cancelling, ["a"] * 3)), [False, False, True])
