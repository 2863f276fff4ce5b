"""Quality signals against scalar loops."""

import cv2
import numpy as np
import pytest

from vgsr.teachers import quality


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
