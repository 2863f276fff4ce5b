"""Teaching: bad images are listed, a killed run continues, and ends as if it had never been killed."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

import vgsr
from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest
from vgsr.teachers import bank as banks
from vgsr.teachers import quality
from vgsr.teachers.bank import BankError
from vgsr.teachers.detect import Face
from vgsr.teachers.extract import Teacher, load_teacher, read_image, teach

QUIET = Console(quiet=True)
BATCHES: list[int] = []
"""Sizes of the batches that the stand-in teacher was asked to embed."""


def look(image: np.ndarray) -> tuple[np.ndarray, Face] | None:
    """Sees a face in every picture but those whose first pixel is darkest red; its colours are the landmarks."""
    face = Face(np.zeros(4), image[1:6, 0, :2].astype(np.float64), float(image[0, 0, 1]) / 255)
    return None if image[0, 0, 0] == 0 else (cv2.resize(image, (112, 112)), face)


def embed(faces: np.ndarray) -> np.ndarray:
    BATCHES.append(len(faces))
    return faces[:, ::16, 0, 0].astype(np.float32)


def deadly(faces: np.ndarray) -> np.ndarray:
    """Kills its own process, without any chance to clean up, at the third part."""
    if len(BATCHES) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return embed(faces)


TEACHER = Teacher(name="stand-in", digest="0" * 64, dimension=7, recipe="plain", look=look, embed=embed)


@pytest.fixture(autouse=True)
def no_batches() -> None:
    BATCHES.clear()


def test_every_face_has_a_row_and_every_failure_a_reason(pictures: Manifest, tmp_path: Path) -> None:
    path = Path(pictures.file("5.png"))
    image = cv2.imread(str(path))
    assert image is not None
    image[0, 0] = 0
    cv2.imwrite(str(path), image)
    bank = teach(pictures, tmp_path / "bank.parquet", TEACHER, console=QUIET)
    assert bank == banks.read(tmp_path / "bank.parquet")
    assert bank.table["face_id"].equals(pictures.faces["face_id"])
    assert (bank.model, bank.digest, bank.manifest_digest) == ("stand-in", "0" * 64, pictures.digest)
    problems = dict(enumerate(bank.table["problem"].to_pylist()))
    expected = {
        3: "not an image, or a damaged one",
        5: "no face found",
        6: "image cannot be read (No such file or directory)",
        8: "not an image, or a damaged one",
    }
    assert {row: said for row, said in problems.items() if said} == expected
    matrix = bank.matrix()
    for row in range(10):
        if row in expected:
            assert np.isnan(matrix[row]).all() and bank.table["face_sharpness"][row].as_py() is None
        else:
            crop, face = look(read_image(pictures.file(f"{row}.png"))) or pytest.fail("unseen")
            np.testing.assert_array_equal(matrix[row], embed(crop[None])[0])
            assert bank.table["face_detection"][row].as_py() == pytest.approx(face.score)
            assert bank.table["face_sharpness"][row].as_py() == pytest.approx(quality.sharpness(crop))
            assert bank.table["face_pose"][row].as_py() == pytest.approx(quality.pose(face.landmarks))
    assert sorted(file.name for file in tmp_path.glob("bank*")) == ["bank.parquet"]


def test_agreement_is_over_the_whole_bank_not_over_a_part(pictures: Manifest, tmp_path: Path) -> None:
    whole = teach(pictures, tmp_path / "whole.parquet", TEACHER, console=QUIET)
    parts = teach(pictures, tmp_path / "parts.parquet", TEACHER, part=1, console=QUIET)
    # Speakers 1, 3 and 4 have one picture of two that can be read.
    known = [row in (0, 1, 4, 5) for row in range(10)]
    assert [value is not None for value in whole.table["face_agreement"].to_pylist()] == known
    assert parts.table["face_agreement"].equals(whole.table["face_agreement"])


def test_a_run_killed_by_sigkill_continues_and_ends_the_same(pictures: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "bank.parquet"
    root = str(Path(vgsr.__file__).parents[1])
    command = [sys.executable, __file__, str(pictures.path), str(out)]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not out.exists()
    parts = sorted((tmp_path / "bank.parquet.parts").glob("part-*.parquet"))
    assert len(parts) == 2
    resumed = teach(pictures, out, TEACHER, part=2, console=QUIET)
    assert BATCHES == [2, 1, 1]  # faces 4 and 5, 7, 9: nothing of the first two parts
    whole = teach(pictures, tmp_path / "whole.parquet", TEACHER, part=2, console=QUIET)
    assert resumed == whole
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not (tmp_path / "bank.parquet.parts").exists()


@pytest.mark.parametrize("change", [{"digest": "1" * 64}, {"recipe": "other"}])
def test_another_teacher_starts_anew(pictures: Manifest, tmp_path: Path, change: dict[str, str]) -> None:
    out = tmp_path / "bank.parquet"

    def interrupted(faces: np.ndarray) -> np.ndarray:
        if len(BATCHES) == 2:
            raise KeyboardInterrupt
        return embed(faces)

    with pytest.raises(KeyboardInterrupt):
        teach(pictures, out, replace(TEACHER, embed=interrupted), part=2, console=QUIET)
    BATCHES.clear()
    bank = teach(pictures, out, replace(TEACHER, **change), part=2, console=QUIET)
    assert sum(BATCHES) == 7
    assert bank.digest == change.get("digest", TEACHER.digest)


def test_a_finished_bank_is_not_made_again(pictures: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "bank.parquet"
    first = teach(pictures, out, TEACHER, console=QUIET)
    BATCHES.clear()
    assert teach(pictures, out, TEACHER, console=QUIET) == first
    assert BATCHES == []
    changed = replace(pictures, digest="of another manifest")
    assert teach(changed, out, TEACHER, console=QUIET).manifest_digest == "of another manifest"
    assert sum(BATCHES) == 7


def test_the_number_of_threads_changes_nothing(pictures: Manifest, tmp_path: Path) -> None:
    one = teach(pictures, tmp_path / "one.parquet", TEACHER, workers=1, console=QUIET)
    assert teach(pictures, tmp_path / "four.parquet", TEACHER, workers=4, console=QUIET) == one


def test_a_manifest_without_faces_is_refused(pictures: Manifest, tmp_path: Path) -> None:
    with pytest.raises(BankError, match="no faces"):
        teach(replace(pictures, faces=pictures.faces.slice(0, 0)), tmp_path / "b.parquet", TEACHER, console=QUIET)


def test_an_empty_image_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(BankError, match="empty"):
        read_image(tmp_path / "empty.jpg")


def test_colours_come_as_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((4, 4, 3), (0, 0, 255), np.uint8))
    np.testing.assert_array_equal(read_image(tmp_path / "red.png")[0, 0], [255, 0, 0])


def test_any_face_network_can_teach(tiny_onnx, yunet: Path, shared_data: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    bank = teach(talkers(shared_data, tmp_path, 2), tmp_path / "b.parquet", load_teacher(tiny_onnx(1)), console=QUIET)
    assert bank.dimension == 3 and bank.model == "tiny-1-False"
    assert np.abs(bank.matrix()).max() <= 1  # ArcFace's feed is -1..1, and this network answers its mean


def test_the_default_teacher_tells_real_people_apart(
    sface: Path, yunet: Path, shared_data: Path, tmp_path: Path
) -> None:
    bank = teach(talkers(shared_data, tmp_path, 6), tmp_path / "b.parquet", load_teacher(), console=QUIET)
    assert bank.model == "sface" and bank.dimension == 128
    assert bank.table["problem"].null_count == 6
    assert all(value > 2 for value in bank.table["face_norm"].to_pylist())
    assert all(value > 0.9 for value in bank.table["face_pose"].to_pylist())  # they pose for the camera
    unit = bank.matrix() / bank.table["face_norm"].to_numpy()[:, None]
    assert (unit @ unit.T)[~np.eye(6, dtype=bool)].max() < 0.6


def talkers(shared_data: Path, tmp_path: Path, count: int) -> Manifest:
    root = shared_data / "ravdess"
    faces = [
        {
            "face_id": file.parent.name,
            "speaker": file.parent.name,
            "session": "1",
            "uri": f"{file.parent.name}/face.png",
        }
        for file in sorted(root.glob("Actor_*/face.png"))[:count]
    ]
    return manifests.write(
        tmp_path / "talkers",
        corpus="talkers",
        root=root,
        synthetic=False,
        utterances=[],
        faces=faces,
        trials={},
        problems=[],
    )


if __name__ == "__main__":  # the process that is killed in the test above
    teach(manifests.read(sys.argv[1]), sys.argv[2], replace(TEACHER, embed=deadly), part=2, console=QUIET)
