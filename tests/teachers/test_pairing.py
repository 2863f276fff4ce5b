"""Pairing: by session, else by speaker; controls that take identity away and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr.config import SIGNALS
from vgsr.teachers import bank as banks
from vgsr.teachers.pairing import PairingError, pair


def make(faces, vectors=None):
    """A bank of (speaker, session) faces; a None vector is a face that was not found."""
    rng = np.random.default_rng(0)
    vectors = vectors if vectors is not None else rng.standard_normal((len(faces), 4)).astype(np.float32) * 9
    rows = [
        {"face_id": f"f{i}", "speaker": speaker, "session": session, "uri": f"{i}.png"}
        for i, (speaker, session) in enumerate(faces)
    ]
    table = banks.pa.Table.from_pylist(rows)
    pose = np.linspace(0, 1, len(faces))
    return banks.build(table, vectors, model="m", digest="d", manifest_digest="x", pose=pose)


people = st.sampled_from("abc")
sessions = st.sampled_from(["1", "2"])


@given(st.lists(st.tuples(people, sessions), min_size=1, max_size=8), st.lists(st.tuples(people, sessions), max_size=8))
def test_an_utterance_gets_its_sessions_faces_else_its_speakers(faces, utterances):
    speakers = sorted({s for s, _ in faces} | {s for s, _ in utterances})
    pairing = pair([s for s, _ in utterances], [t for _, t in utterances], speakers, make(faces))
    for (speaker, session), rows in zip(utterances, pairing.rows, strict=True):
        own = [i for i, face in enumerate(faces) if face == (speaker, session)]
        any_of = [i for i, face in enumerate(faces) if face[0] == speaker]
        assert rows.tolist() == (own or any_of)
    np.testing.assert_allclose(np.linalg.norm(pairing.matrix, axis=1), 1, atol=1e-6)


def test_a_face_that_was_not_found_teaches_nobody():
    vectors = np.array([[1, 0], [np.nan, np.nan], [0, 2]], np.float32)
    pairing = pair(["a", "a", "b"], ["1", "2", "1"], ["a", "b"], make([("a", "1"), ("a", "2"), ("b", "1")], vectors))
    assert [rows.tolist() for rows in pairing.rows] == [[0], [0], [2]]
    assert pairing.coverage == 1


def test_centres_are_unit_means_in_label_order():
    vectors = np.array([[2, 0], [0, 4], [0, 1]], np.float32)
    pairing = pair(["a"], ["1"], ["z", "a", "b"], make([("a", "1"), ("a", "2"), ("b", "1")], vectors))
    np.testing.assert_allclose(pairing.centres, [[0, 0], [0.5**0.5, 0.5**0.5], [0, 1]], atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_teaches_everyone_by_one_other(seed):
    names = [f"p{i}" for i in range(6)]
    bank = make([(name, "1") for name in names])
    pairing = pair(names, ["1"] * 6, names, bank, control="shuffled", seed=seed)
    taught = [int(rows[0]) for rows in pairing.rows]
    assert sorted(taught) == list(range(6)) and all(i != t for i, t in enumerate(taught))
    for i, t in enumerate(taught):
        np.testing.assert_allclose(pairing.centres[i], pairing.matrix[t], atol=1e-6)
    # The signals are those of the faces shown.
    shown = [float(pairing.quality["face_pose"][rows[0]]) for rows in pairing.rows]
    assert shown == pytest.approx([t / 5 for t in taught])
    again = pair(names, ["1"] * 6, names, bank, control="shuffled", seed=seed)
    assert [rows.tolist() for rows in again.rows] == [rows.tolist() for rows in pairing.rows]


def test_random_gives_each_speaker_one_fixed_direction():
    bank = make([("a", "1"), ("b", "1")])
    pairing = pair(["a", "b", "a"], ["1", "1", "2"], ["a", "b"], bank, control="random", seed=3)
    first, second, third = (pairing.matrix[rows[0]] for rows in pairing.rows)
    assert np.array_equal(first, third) and not np.array_equal(first, second)
    assert not any(np.allclose(first, face) for face in bank.matrix())
    assert set(pairing.quality) == {name for name in SIGNALS if name.startswith("face_")}
    assert all(np.isnan(values).all() for values in pairing.quality.values())


def test_average_is_the_unit_mean_of_the_sessions_faces():
    vectors = np.array([[2, 0], [0, 4], [-1, 0]], np.float32)
    bank = make([("a", "1"), ("a", "1"), ("b", "1")], vectors)
    pairing = pair(["a", "b"], ["1", "1"], ["a", "b"], bank, average=True)
    np.testing.assert_allclose(pairing.matrix[pairing.rows[0]], [[0.5**0.5, 0.5**0.5]], atol=1e-6)
    np.testing.assert_allclose(pairing.matrix[pairing.rows[1]], [[-1, 0]], atol=1e-6)


def test_a_bank_of_other_people_is_refused():
    with pytest.raises(PairingError, match="another manifest"):
        pair(["a"], ["1"], ["a"], make([("z", "1")]))
