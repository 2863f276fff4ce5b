"""The teacher's own scores against brute force over every pair of faces."""

from pathlib import Path

import numpy as np
import pytest

from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest
from vgsr.teachers import bank as banks
from vgsr.teachers.bank import Bank
from vgsr.teachers.scores import trial_scores

# face: speaker, session, image. c has no face at all; b1 has one that was not found, so b's other face stands in.
FACES = {
    "a1x": ("a", "1", "a1x.png"),
    "a1y": ("a", "1", "a1y.png"),
    "a2": ("a", "2", "a2.png"),
    "b1": ("b", "1", "b1.png"),
    "b2": ("b", "2", "b2.png"),
    "d1": ("d", "1", "d.png"),
    "d2": ("d", "2", "d.png"),
}
UTTERANCES = {"ua1": ("a", "1"), "ua2": ("a", "2"), "ua3": ("a", "3"), "ub1": ("b", "1"), "ub2": ("b", "2")} | {
    "uc": ("c", "1"),
    "ud1": ("d", "1"),
    "ud2": ("d", "2"),
}
TRIALS = [
    (int(UTTERANCES[one][0] == UTTERANCES[other][0]), one, other)
    for one in UTTERANCES
    for other in UTTERANCES
    if one <= other
]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    common = {"uri": "x.wav", "start": 0.0, "seconds": 1.0, "sample_rate": 16000, "split": "test", "speech_snr": None}
    return manifests.write(
        tmp_path / "manifest",
        corpus="c",
        root=tmp_path,
        synthetic=True,
        utterances=[{"utterance_id": u, "speaker": s, "session": e, **common} for u, (s, e) in UTTERANCES.items()],
        faces=[{"face_id": f, "speaker": s, "session": e, "uri": i} for f, (s, e, i) in FACES.items()],
        trials={"all": TRIALS},
        problems=[],
    )


@pytest.fixture
def bank(manifest: Manifest) -> Bank:
    rows = np.random.default_rng(0).normal(size=(len(FACES), 5)).astype(np.float32)
    rows[manifest.faces["face_id"].to_pylist().index("b1")] = np.nan
    return banks.build(manifest.faces, rows, model="m", digest="d", manifest_digest=manifest.digest)


def faces_of(utterance: str) -> list[str]:
    speaker, session = UTTERANCES[utterance]
    seen = [face for face in FACES if face != "b1" and FACES[face][0] == speaker]
    return [face for face in seen if FACES[face][1] == session] or seen


def test_scores_are_those_of_brute_force(bank: Bank, manifest: Manifest) -> None:
    vector = dict(zip(bank.table["face_id"].to_pylist(), bank.matrix().astype(np.float64), strict=True))

    def mean(faces: list[str]) -> np.ndarray:
        total = sum((vector[face] / np.sqrt((vector[face] ** 2).sum()) for face in faces), np.zeros(5))
        return total / np.sqrt((total**2).sum())

    expected, labels, same_image, no_face = [], [], 0, 0
    for label, enrol, test in TRIALS:
        one, other = faces_of(enrol), faces_of(test)
        if not one or not other:
            no_face += 1
        elif {FACES[face][2] for face in one} & {FACES[face][2] for face in other}:
            same_image += 1
        else:
            expected.append(sum(x * y for x, y in zip(mean(one), mean(other), strict=True)))
            labels.append(label)
    assert no_face == 8 and same_image > len(UTTERANCES) - 1
    found = trial_scores(bank, manifest, manifest.trials["all"])
    np.testing.assert_allclose(found.scores, expected, rtol=1e-9)
    assert found.labels.tolist() == labels and {0, 1} == set(labels)
    assert (found.same_image, found.no_face) == (same_image, no_face)


def test_two_rows_of_one_image_are_one_image(bank: Bank, manifest: Manifest) -> None:
    trials = manifest.trials["all"].filter(
        (np.array(manifest.trials["all"]["enrol"]) == "ud1") & (np.array(manifest.trials["all"]["test"]) == "ud2")
    )
    found = trial_scores(bank, manifest, trials)
    assert found.same_image == 1 and not len(found.scores)


def test_no_trials_give_no_scores(bank: Bank, manifest: Manifest) -> None:
    found = trial_scores(bank, manifest, manifest.trials["all"].slice(0, 0))
    assert len(found.scores) == len(found.labels) == found.same_image == found.no_face == 0
