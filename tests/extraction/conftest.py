"""What the tests of extraction share: the default teacher, and a corpus of names."""

from pathlib import Path

import pytest

from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest
from vgsr.teachers.extract import TeacherFiles, teacher_files
from vgsr.teachers.weights import WeightError


@pytest.fixture(scope="session")
def sface() -> TeacherFiles:
    """The default teacher; the test is skipped where its weights cannot be had."""
    try:
        return teacher_files()
    except WeightError as error:
        pytest.skip(f"real weights cannot be had here: {error}")


@pytest.fixture
def names(tmp_path: Path) -> Manifest:
    """A manifest of 300 utterances that are nothing but names: five parts, the last one shorter."""
    utterances = [
        {"utterance_id": f"u{n:03d}", "speaker": "s", "session": "1", "uri": "x.wav", "start": 0.0, "seconds": 1.0}
        | {"sample_rate": 16000, "split": "train"}
        for n in range(300)
    ]
    return manifests.write(
        tmp_path / "names",
        corpus="names",
        root=tmp_path,
        synthetic=True,
        utterances=utterances,
        faces=[],
        trials={},
        problems=[],
    )
