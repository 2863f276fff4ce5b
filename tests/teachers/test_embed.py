"""Alignment against known transforms, embedding against a network whose answer is known, and OpenCV's own."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr.teachers import align, detect, embed
from vgsr.teachers.extract import read_image

FACES = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
PLANES = FACES.astype(np.float64).mean(axis=(1, 2))
"""Mean of each colour plane [5, 3]: what the tiny network answers."""


@given(
    angle=st.floats(-np.pi, np.pi),
    scale=st.floats(0.05, 20),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    seed=st.integers(0, 2**32 - 1),
)
def test_umeyama_finds_a_known_similarity(angle: float, scale: float, shift: tuple[float, float], seed: int) -> None:
    points = np.random.default_rng(seed).normal(0, 50, (5, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = align.umeyama(points, scale * points @ turn.T + shift)
    np.testing.assert_allclose(found, np.column_stack([scale * turn, shift]), atol=1e-6 * max(scale * 50, 500))


@given(seed=st.integers(0, 2**32 - 1))
def test_umeyama_is_the_least_squares_similarity(seed: int) -> None:
    """In two dimensions a similarity is linear in (a, b, shift), so least squares has an ordinary solution."""
    rng = np.random.default_rng(seed)
    source, target = rng.normal(0, 30, (5, 2)), rng.normal(0, 30, (5, 2))
    x, y = source.T
    one, zero = np.ones(5), np.zeros(5)
    rows = np.concatenate([np.column_stack([x, -y, one, zero]), np.column_stack([y, x, zero, one])])
    a, b, right, down = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(align.umeyama(source, target), [[a, -b, right], [b, a, down]], atol=1e-6)


def test_a_face_in_the_template_is_cut_unchanged() -> None:
    image = np.pad(FACES[0], ((7, 9), (3, 5), (0, 0)))
    np.testing.assert_array_equal(align.align(image, align.TEMPLATE + np.array([3, 7])), FACES[0])


@pytest.mark.parametrize(("batch", "stubborn"), [(None, False), (1, False), (1, True)])
def test_embedding_is_the_network_s_answer_for_each_face(tiny_onnx, batch, stubborn) -> None:  # type: ignore[no-untyped-def]
    model = embed.load(tiny_onnx(batch, stubborn), embed.Feed(mean=0, scale=1), batch=3)
    assert model.dimension == 3
    assert model.batch == (1 if stubborn else 3)
    found = embed.embed(model, FACES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, PLANES, rtol=1e-5)
    assert embed.embed(model, FACES[:0]).shape == (0, 3)


def test_the_feed_is_obeyed(tiny_onnx) -> None:  # type: ignore[no-untyped-def]
    path = tiny_onnx()
    arcface = embed.embed(embed.load(path, embed.ARCFACE_FEED), FACES)
    np.testing.assert_allclose(arcface, (PLANES - 127.5) / 127.5, atol=1e-5)
    swapped = embed.embed(embed.load(path, embed.Feed(mean=0, scale=1, order="bgr")), FACES)
    np.testing.assert_allclose(swapped, PLANES[:, ::-1], rtol=1e-5)


def test_what_is_not_a_face_network_is_refused(tiny_onnx, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(embed.ModelError, match="not a usable ONNX network"):
        embed.load(tmp_path / "text.onnx", embed.ARCFACE_FEED)
    with pytest.raises(embed.ModelError, match="no such file"):
        embed.load(tmp_path / "missing.onnx", embed.ARCFACE_FEED)
    with pytest.raises(embed.ModelError, match=r"not float \[batch, \*\[112, 112, 3\]\]"):
        embed.load(tiny_onnx(), embed.Feed(layout="nhwc"))


def test_an_unknown_feed_is_refused() -> None:
    with pytest.raises(embed.ModelError, match="rgb, bgr"):
        embed.Feed(order="grb")


def test_sface_agrees_with_opencv_s_own_recogniser(sface: Path, yunet: Path, shared_data: Path) -> None:
    model = embed.load(sface, embed.SFACE_FEED)
    theirs = cv2.FaceRecognizerSF.create(str(sface), "")
    detector = detect.Detector(yunet.read_bytes())
    crops, expected = [], []
    for file in sorted((shared_data / "ravdess").glob("Actor_*/face.png"))[:4]:
        image = read_image(file)
        face = detect.find(detector, image)
        assert face is not None
        crops.append(align.align(image, face.landmarks))
        row = np.concatenate([face.box, face.landmarks.ravel(), [face.score]]).astype(np.float32)[None]
        aligned = np.asarray(theirs.alignCrop(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), row))
        assert np.abs(aligned[..., ::-1].astype(int) - crops[-1]).mean() < 0.05
        expected.append(np.asarray(theirs.feature(aligned)).copy()[0])
    found = embed.embed(model, np.stack(crops))
    assert model.batch > 1
    cosine = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.9999
