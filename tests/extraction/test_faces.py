"""Teaching: a killed run goes on, and ends as if it had never been killed; nothing old is taken for a new teacher's."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

import vgsr
from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest
from vgsr.extraction import faces, parts
from vgsr.teachers.bank import Bank, BankError
from vgsr.teachers.detect import Face
from vgsr.teachers.extract import Teacher, TeacherFiles

QUIET = Console(quiet=True)
SEEN: list[int] = []
"""The red of the first pixel of every picture that the stand-in teacher looked at: the picture's number."""


def look(image: np.ndarray) -> tuple[np.ndarray, Face]:
    SEEN.append(int(image[0, 0, 0]))
    return cv2.resize(image, (112, 112)), Face(np.zeros(4), image[1:6, 0, :2].astype(np.float64), 0.9)


def deadly(image: np.ndarray) -> tuple[np.ndarray, Face]:
    """Kills its own process, without any chance to clean up, at picture 5."""
    if image[0, 0, 0] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return look(image)


@dataclass(frozen=True)
class StandIn:
    """What the stand-in teacher is loaded from."""

    sees: Callable[[np.ndarray], tuple[np.ndarray, Face] | None] = look
    digest: str = "0" * 64
    recipe: str = "plain"

    def load(self, gpu: bool) -> Teacher:
        return Teacher(
            "stand-in", self.digest, 7, self.recipe, self.sees, lambda crops: crops[:, ::16, 0, 0].astype(np.float32)
        )


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", 2)
    SEEN.clear()


@pytest.fixture
def corpus(tmp_path: Path) -> Manifest:
    """Eight noise pictures of four speakers, each with its number as its first pixel; 3 is no picture."""
    rng = np.random.default_rng(0)
    for number in range(8):
        image = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
        image[0, 0] = number
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    (tmp_path / "3.png").write_text("not an image")
    rows = [
        {"face_id": f"face-{n}", "speaker": f"speaker-{n // 2}", "session": f"{n}", "uri": f"{n}.png"} for n in range(8)
    ]
    return manifests.write(
        tmp_path / "m", corpus="c", root=tmp_path, synthetic=True, utterances=[], faces=rows, trials={}, problems=[]
    )


def teach(manifest: Manifest, out: Path, source: faces.Loadable | None = None) -> Bank:
    return faces.teach(manifest, str(out), source or StandIn(), console=QUIET)


def test_every_face_has_a_row_and_agreement_is_over_the_whole_bank(corpus: Manifest, tmp_path: Path) -> None:
    bank = teach(corpus, tmp_path / "bank.parquet")
    assert sorted(SEEN) == [0, 1, 2, 4, 5, 6, 7]
    assert bank.table["face_id"].equals(corpus.faces["face_id"])
    assert (bank.model, bank.digest, bank.manifest_digest) == ("stand-in", "0" * 64, corpus.digest)
    assert bank.table["problem"].to_pylist() == [None] * 3 + ["not an image, or a damaged one"] + [None] * 4
    assert np.isnan(bank.matrix()).all(axis=1).tolist() == [n == 3 for n in range(8)]
    # Speaker 1 has one picture of two that can be read; the others agree across no part's border.
    assert [value is not None for value in bank.table["face_agreement"].to_pylist()] == [n // 2 != 1 for n in range(8)]
    assert [path.name for path in tmp_path.glob("bank*")] == ["bank.parquet"]


def test_a_run_killed_by_sigkill_goes_on_and_ends_the_same(corpus: Manifest, tmp_path: Path) -> None:
    out, whole = tmp_path / "bank.parquet", tmp_path / "whole.parquet"
    killed = run(corpus, out)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not out.exists()
    assert len(list((tmp_path / "bank.parquet.parts").glob("part-*.parquet"))) == 2
    teach(corpus, out)
    assert sorted(SEEN) == [4, 5, 6, 7]  # nothing of the first two parts
    teach(corpus, whole)
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "bank.parquet.parts").exists()


@pytest.mark.parametrize("change", [{"digest": "1" * 64}, {"recipe": "other"}])
def test_another_teacher_starts_anew(corpus: Manifest, tmp_path: Path, change: dict[str, str]) -> None:
    out = tmp_path / "bank.parquet"

    def interrupted(image: np.ndarray) -> tuple[np.ndarray, Face]:
        if image[0, 0, 0] == 5:
            raise KeyboardInterrupt
        return look(image)

    with pytest.raises(KeyboardInterrupt):
        teach(corpus, out, StandIn(interrupted))
    assert len(list((tmp_path / "bank.parquet.parts").iterdir())) == 2
    SEEN.clear()
    bank = teach(corpus, out, replace(StandIn(), **change))
    assert sorted(SEEN) == [0, 1, 2, 4, 5, 6, 7]
    assert bank.digest == change.get("digest", "0" * 64)


def test_a_finished_bank_is_not_made_again(corpus: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "bank.parquet"
    teach(corpus, out)
    before, _ = out.read_bytes(), SEEN.clear()
    teach(corpus, out)
    assert SEEN == [] and out.read_bytes() == before
    assert teach(replace(corpus, digest="of another manifest"), out).manifest_digest == "of another manifest"
    assert len(SEEN) == 7


def test_what_cannot_be_taught_from_is_refused(corpus: Manifest, tiny: Path, tmp_path: Path) -> None:
    empty = manifests.write(
        tmp_path / "e", corpus="c", root=tmp_path, synthetic=True, utterances=[], faces=[], trials={}, problems=[]
    )
    with pytest.raises(BankError, match="no faces"):
        teach(empty, tmp_path / "b.parquet")
    with pytest.raises(BankError, match="came with a bank of its own"):
        teach(manifests.read(tiny), tmp_path / "b.parquet")


def test_the_default_teacher_on_s3(sface: TeacherFiles, shared_data: Path, tmp_path: Path, s3) -> None:  # type: ignore[no-untyped-def]
    rows = [
        {
            "face_id": file.parent.name,
            "speaker": file.parent.name,
            "session": "1",
            "uri": str(file.relative_to(shared_data)),
        }
        for file in sorted((shared_data / "ravdess").glob("Actor_*/face.png"))[:3]
    ]
    made = [
        manifests.write(
            place, corpus="t", root=shared_data, synthetic=False, utterances=[], faces=rows, trials={}, problems=[]
        )
        for place in (str(tmp_path / "here"), f"{s3.place}/corpus")
    ]
    here, there = (faces.teach(one, f"{one.place}/banks/sface.parquet", sface, console=QUIET) for one in made)
    assert here.table.equals(there.table) and here.table["problem"].null_count == 3
    np.testing.assert_array_equal(here.matrix(), there.matrix())
    keys = [item["Key"] for item in s3.client.list_objects_v2(Bucket=s3.name)["Contents"]]
    assert [key for key in keys if "banks" in key] == ["corpus/banks/sface.parquet"]


def run(corpus: Manifest, out: Path) -> "subprocess.CompletedProcess[bytes]":
    """Teach with `deadly` in another process."""
    root = str(Path(vgsr.__file__).parents[1])
    command = [sys.executable, __file__, corpus.place, str(out)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, capture_output=True, timeout=120)


if __name__ == "__main__":  # the process that is killed above
    parts.PART = 2
    teach(manifests.read(sys.argv[1]), Path(sys.argv[2]), StandIn(deadly))
