"""Pairing: by session, else by speaker; controls that take identity away and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr.config import SIGNALS
from vgsr.teachers import bank as banks
from vgsr.teachers.coverage import Coverage
from vgsr.teachers.pairing import QUALITY_COLUMNS, PairingError, pair


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
    for (speaker, session), rows in zip(utterances, pairing.faces, strict=True):
        own = [i for i, face in enumerate(faces) if face == (speaker, session)]
        any_of = [i for i, face in enumerate(faces) if face[0] == speaker]
        assert rows.tolist() == (own or any_of)
    assert all(np.linalg.norm(pairing.direction(face)) == pytest.approx(1) for face in range(len(faces)))


def test_a_face_that_was_not_found_teaches_nobody():
    vectors = np.array([[1, 0], [np.nan, np.nan], [0, 2]], np.float32)
    pairing = pair(["a", "a", "b"], ["1", "2", "1"], ["a", "b"], make([("a", "1"), ("a", "2"), ("b", "1")], vectors))
    assert [rows.tolist() for rows in pairing.faces] == [[0], [0], [2]]
    assert pairing.coverage == Coverage(1.0, 1.0)


def test_centres_are_unit_means_in_label_order():
    vectors = np.array([[2, 0], [0, 4], [0, 1]], np.float32)
    pairing = pair(["a"], ["1"], ["z", "a", "b"], make([("a", "1"), ("a", "2"), ("b", "1")], vectors))
    np.testing.assert_allclose(pairing.centres, [[0, 0], [0.5**0.5, 0.5**0.5], [0, 1]], atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_teaches_everyone_by_one_other(seed):
    names = [f"p{i}" for i in range(6)]
    bank = make([(name, "1") for name in names])
    pairing = pair(names, ["1"] * 6, names, bank, control="shuffled", seed=seed)
    taught = [int(rows[0]) for rows in pairing.faces]
    assert sorted(taught) == list(range(6)) and all(i != t for i, t in enumerate(taught))
    for i, t in enumerate(taught):
        np.testing.assert_allclose(pairing.centres[i], pairing.direction(t), atol=1e-6)
    # The signals are those of the faces shown.
    shown = [float(pairing.quality["face_pose"][rows[0]]) for rows in pairing.faces]
    assert shown == pytest.approx([t / 5 for t in taught])
    again = pair(names, ["1"] * 6, names, bank, control="shuffled", seed=seed)
    assert [rows.tolist() for rows in again.faces] == [rows.tolist() for rows in pairing.faces]


def test_random_gives_each_speaker_one_fixed_direction():
    bank = make([("a", "1"), ("b", "1")])
    pairing = pair(["a", "b", "a"], ["1", "1", "2"], ["a", "b"], bank, control="random", seed=3)
    first, second, third = (pairing.direction(rows[0]) for rows in pairing.faces)
    assert np.array_equal(first, third) and not np.array_equal(first, second)
    assert not any(np.allclose(first, face) for face in bank.matrix())
    assert set(pairing.quality) == {name for name in SIGNALS if name.startswith("face_")}
    assert all(np.isnan(values).all() for values in pairing.quality.values())


def test_average_is_the_unit_mean_of_the_sessions_faces():
    vectors = np.array([[2, 0], [0, 4], [-1, 0]], np.float32)
    bank = make([("a", "1"), ("a", "1"), ("b", "1")], vectors)
    pairing = pair(["a", "b"], ["1", "1"], ["a", "b"], bank, average=True)
    np.testing.assert_allclose(pairing.direction(pairing.faces[0][0]), [0.5**0.5, 0.5**0.5], atol=1e-6)
    np.testing.assert_allclose(pairing.direction(pairing.faces[1][0]), [-1, 0], atol=1e-6)


def test_a_bank_of_other_people_is_refused():
    with pytest.raises(PairingError, match="another manifest"):
        pair(["a"], ["1"], ["a"], make([("z", "1")]))


def by_the_book(utterances, speakers, bank, control, average, seed):
    """The definition, a utterance and a face at a time: what each utterance may be taught, and the centres."""
    raw = bank.matrix()
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True).clip(1e-12)
    faces = list(zip(bank.table["speaker"].to_pylist(), bank.table["session"].to_pylist(), strict=True))
    good = [row for row in range(len(faces)) if np.isfinite(unit[row]).all() and faces[row][0] in speakers]
    of = {name: [row for row in good if faces[row][0] == name] for name in speakers}
    known = sorted(name for name in speakers if of[name])
    by = {name: name for name in known}
    if control == "shuffled":
        order = [known[i] for i in np.random.default_rng(seed).permutation(len(known))]
        by = dict(zip(order, order[1:] + order[:1], strict=True))
    quality = {name: bank.table[name].to_numpy().astype(np.float32) for name in QUALITY_COLUMNS}

    def mean(rows):
        vector = unit[rows].mean(axis=0)
        return (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)

    taught = []
    for utterance in utterances:
        own = [row for row in good if faces[row] == utterance] if control == "none" else []
        rows = own or of.get(by.get(utterance[0]), [])
        if average and rows:
            taught.append([(mean(rows), [values[rows].mean() for values in quality.values()])])
        else:
            taught.append([(unit[row], [values[row] for values in quality.values()]) for row in rows])
    centres = [mean(of[by[name]]) if name in by else np.zeros(raw.shape[1], np.float32) for name in speakers]
    return taught, np.stack(centres)


@given(
    faces=st.lists(st.tuples(st.sampled_from("abcd"), sessions), min_size=1, max_size=40),
    utterances=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2", "3"])), max_size=8),
    control=st.sampled_from(["none", "shuffled"]),
    average=st.booleans(),
    stored=st.booleans(),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_every_bit_is_that_of_the_definition(tmp_path_factory, faces, utterances, control, average, stored, seed, data):
    rng = np.random.default_rng(seed)
    vectors = (rng.standard_normal((len(faces), 5)) * 10 ** rng.uniform(-3, 3, (len(faces), 1))).astype(np.float32)
    lost = data.draw(st.sets(st.integers(0, len(faces) - 1)))
    vectors[list(lost)] = np.nan
    bank = make(faces, vectors)
    if stored:
        bank = banks.write(tmp_path_factory.mktemp("pairing") / "bank.parquet", bank)
    speakers, (people, places) = ["c", "a", "b"], zip(*utterances, strict=True) if utterances else ([], [])
    usable = {faces[row][0] for row in range(len(faces)) if row not in lost} & set(speakers)
    if len(usable) < (2 if control == "shuffled" else 1):
        with pytest.raises(PairingError):
            pair(list(people), list(places), speakers, bank, control=control, average=average, seed=seed)
        return
    pairing = pair(list(people), list(places), speakers, bank, control=control, average=average, seed=seed)
    taught, centres = by_the_book(utterances, speakers, bank, control, average, seed)
    assert len(pairing.faces) == len(taught)
    for mine, expected in zip(pairing.faces, taught, strict=True):
        assert len(mine) == len(expected)
        for face, (direction, quality) in zip(mine, expected, strict=True):
            np.testing.assert_array_equal(pairing.direction(face), direction)
            np.testing.assert_array_equal([values[face] for values in pairing.quality.values()], quality)
    np.testing.assert_array_equal(pairing.centres, centres)
