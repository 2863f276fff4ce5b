"""A teacher at work: pictures in, embeddings and signals out, and a reason for every picture without them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from vgsr.data.manifest import Manifest
from vgsr.storage import StorageError
from vgsr.teachers import embed, quality
from vgsr.teachers.bank import BankError
from vgsr.teachers.detect import Face
from vgsr.teachers.extract import Seen, Teacher, read_image, see, teacher_files


def look(image: np.ndarray) -> tuple[np.ndarray, Face] | None:
    """Sees a face in every picture but those whose first pixel is darkest red; its colours are the landmarks."""
    face = Face(np.zeros(4), image[1:6, 0, :2].astype(np.float64), float(image[0, 0, 1]) / 255)
    return None if image[0, 0, 0] == 0 else (cv2.resize(image, (112, 112)), face)


def means(faces: np.ndarray) -> np.ndarray:
    return faces[:, ::16, 0, 0].astype(np.float32)


TEACHER = Teacher(name="stand-in", digest="0" * 64, dimension=7, recipe="plain", look=look, embed=means)


def seen(teacher: Teacher, places: list[str], threads: int = 2) -> Seen:
    with ThreadPoolExecutor(threads) as pool:
        return see(teacher, places, pool)


def test_every_picture_has_a_row_and_every_failure_a_reason(pictures: Manifest) -> None:
    places = [pictures.file(f"{number}.png") for number in range(10)]
    image = cv2.imread(places[5])
    assert image is not None
    image[0, 0] = 0
    cv2.imwrite(places[5], image)
    found = seen(TEACHER, places)
    expected = {
        3: "not an image, or a damaged one",
        5: "no face found",
        6: "image cannot be read (No such file or directory)",
        8: "not an image, or a damaged one",
    }
    assert {row: said for row, said in enumerate(found.problems) if said} == expected
    for row in range(10):
        if row in expected:
            assert np.isnan(found.embeddings[row]).all() and np.isnan(found.signals["sharpness"][row])
            continue
        crop, face = look(read_image(places[row])) or pytest.fail("unseen")
        np.testing.assert_array_equal(found.embeddings[row], means(crop[None])[0])
        assert found.signals["detection"][row] == pytest.approx(face.score)
        assert found.signals["sharpness"][row] == pytest.approx(quality.sharpness(crop))
        assert found.signals["pose"][row] == pytest.approx(quality.pose(face.landmarks))


def test_pictures_without_any_face_have_rows_too(pictures: Manifest) -> None:
    found = seen(TEACHER, [pictures.file("6.png")])
    assert found.embeddings.shape == (1, 7) and np.isnan(found.embeddings).all() and found.problems[0]


def test_an_empty_image_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(BankError, match="empty"):
        read_image(tmp_path / "empty.jpg")


def test_colours_come_as_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((4, 4, 3), (0, 0, 255), np.uint8))
    np.testing.assert_array_equal(read_image(tmp_path / "red.png")[0, 0], [255, 0, 0])


def test_a_picture_that_is_not_there_is_told_from_a_store_that_fails(s3, monkeypatch, free_port) -> None:  # type: ignore[no-untyped-def]
    content = cv2.imencode(".png", np.full((4, 4, 3), 7, np.uint8))[1].tobytes()
    s3.client.put_object(Bucket=s3.name, Key="a.png", Body=content)
    assert read_image(f"{s3.place}/a.png").shape == (4, 4, 3)
    with pytest.raises(BankError, match="no such object"):
        read_image(f"{s3.place}/b.png")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(StorageError):
        read_image(f"{s3.place}/a.png")


def test_any_face_network_can_teach(tiny_onnx, yunet: Path, shared_data: Path) -> None:  # type: ignore[no-untyped-def]
    files = teacher_files(tiny_onnx(1))
    found = seen(files.load(), talkers(shared_data, 2))
    assert (files.name, found.embeddings.shape) == ("tiny-1-False", (2, 3))
    assert np.abs(found.embeddings).max() <= 1  # ArcFace's feed is -1..1, and this network answers its mean


def test_no_embedding_depends_on_its_company(sface: Path, yunet: Path, shared_data: Path) -> None:
    """In smaller runs, or with more threads to one, a network answers other last digits."""
    teacher, (one, other) = teacher_files().load(), talkers(shared_data, 2)
    together = seen(teacher, [one, *[other] * 16, one], threads=2).embeddings
    assert together.any() and np.array_equal(together[0], together[17])
    np.testing.assert_array_equal(seen(teacher, [one], threads=1).embeddings[0], together[0])


def test_the_default_teacher_tells_real_people_apart(sface: Path, yunet: Path, shared_data: Path) -> None:
    files = teacher_files()
    assert (files.name, files.feed) == ("sface", embed.SFACE_FEED)
    found = seen(files.load(), talkers(shared_data, 6))
    assert found.problems == [None] * 6
    assert (found.signals["pose"] > 0.9).all()  # they pose for the camera
    length = np.linalg.norm(found.embeddings, axis=1, keepdims=True)
    assert found.embeddings.shape == (6, 128) and (length > 2).all()
    unit = found.embeddings / length
    assert (unit @ unit.T)[~np.eye(6, dtype=bool)].max() < 0.6


def test_a_network_that_is_not_there_is_named(yunet: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone.onnx"):
        teacher_files(tmp_path / "gone.onnx")


def talkers(shared_data: Path, count: int) -> list[str]:
    return [str(file) for file in sorted((shared_data / "ravdess").glob("Actor_*/face.png"))[:count]]
