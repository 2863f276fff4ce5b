"""Cosine scores against one trial at a time."""

import gzip

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgsr.evaluation import scoring
from vgsr.evaluation.metrics import eer
from vgsr.evaluation.scoring import ScoringError, cosine_scores


def table(rows):
    return pa.table(
        {
            "label": pa.array([label for label, _, _ in rows], pa.int8()),
            "enrol": pa.array([enrol for _, enrol, _ in rows], pa.string()),
            "test": pa.array([test for _, _, test in rows], pa.string()),
        }
    )


def slow_cosine(x, y):
    dot = sum(p * q for p, q in zip(x, y, strict=True))
    return dot / (sum(p * p for p in x) * sum(q * q for q in y)) ** 0.5


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("block", [7, 1024])
def test_scores_are_those_of_one_trial_at_a_time(monkeypatch, dtype, block):
    monkeypatch.setattr(scoring, "BLOCK", block)
    rng = np.random.default_rng(1)
    embeddings = (3 * rng.normal(size=(20, 16))).astype(dtype)
    ids = [f"u{i}" for i in range(20)]
    pairs = rng.integers(0, 20, size=(50, 2))
    trials = pa.concat_tables([table([(0, ids[a], ids[b]) for a, b in part]) for part in (pairs[:13], pairs[13:])])
    found = cosine_scores(embeddings, ids, trials)
    assert found.dtype == np.float64
    for (a, b), score in zip(pairs, found, strict=True):
        assert score == pytest.approx(slow_cosine(embeddings[a].tolist(), embeddings[b].tolist()), abs=1e-12)


def test_an_utterance_with_itself_scores_one_and_order_does_not_matter():
    embeddings = np.random.default_rng(2).normal(size=(3, 192)).astype(np.float32)
    found = cosine_scores(embeddings, ["a", "b", "c"], table([(1, "a", "a"), (0, "a", "c"), (0, "c", "a")]))
    assert found[0] == pytest.approx(1.0, abs=1e-12)
    assert found[0] <= 1.0
    assert found[1] == found[2]


def test_missing_utterances_are_counted_and_named():
    trials = table([(1, "a", f"gone{i}") for i in range(8)] + [(1, "gone0", "a")])
    with pytest.raises(ScoringError, match=r"8 utterances of the trials have no embedding: gone0, .*, gone7$"):
        cosine_scores(np.ones((1, 2)), ["a"], trials)


def test_of_many_missing_utterances_the_first_are_told_and_the_error_has_all():
    trials = table([(1, "a", f"gone{i}") for i in range(30)] + [(1, "many", "a")])
    enrolments = {"many": ["a", "gone3", "inside"], "unused": ["never asked for"]}
    with pytest.raises(ScoringError, match=r"31 utterances .* gone0, .*, gone9 and 21 more \(`names`") as caught:
        cosine_scores(np.ones((1, 2)), ["a"], trials, enrolments)
    assert caught.value.names == [*(f"gone{i}" for i in range(30)), "inside"]


@given(seed=st.integers(0, 2**32 - 1), centred=st.booleans(), block=st.sampled_from([1, 3, 1024]))
@settings(max_examples=60, deadline=None)
def test_an_enrolment_of_several_is_the_mean_of_its_embeddings_minus_the_mean_of_the_corpus(seed, centred, block):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(9, 5)).astype(np.float32)
    ids = [f"u{i}" for i in range(9)]
    # "u3" is the name of an enrolment and of an utterance: as an enrolment it stands for the former.
    enrolments = {name: rng.choice(ids, size=rng.integers(1, 6)).tolist() for name in ("m0", "m1", "u3", "m2")}
    mean = rng.normal(size=5) if centred else None
    enrol, test = rng.choice([*enrolments, *ids], size=20), rng.choice(ids, size=20)
    trials = table([(0, a, b) for a, b in zip(enrol, test, strict=True)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "BLOCK", block)
        found = cosine_scores(embeddings, ids, trials, enrolments, mean)

    def vector(utterances):
        rows = [embeddings[ids.index(name)].tolist() for name in utterances]
        shifts = [0.0] * 5 if mean is None else mean.tolist()
        return [sum(column) / len(rows) - shift for *column, shift in zip(*rows, shifts, strict=True)]

    for a, b, score in zip(enrol, test, found, strict=True):
        assert score == pytest.approx(slow_cosine(vector(enrolments.get(a, [a])), vector([b])), abs=1e-9)


def test_scores_minus_the_mean_are_those_of_wespeaker():
    # Printed by trials_cosine_score of wespeaker/bin/score.py, and the mean by calculate_mean_from_kaldi_vec (commit
    # dfa741957e5c11f477623b6e583d67d0af25ee88), from float32 embeddings with these values.
    embeddings = np.array([[3, 2, -1, 1], [2, 2, -2, 0], [-1, 3, 1, 2], [1, -3, 3, 1]], np.float32)
    trials = table([(1, "a", "b"), (0, "a", "c"), (0, "d", "b"), (0, "c", "d")])
    found = cosine_scores(embeddings, ["a", "b", "c", "d"], trials, mean=[1.2, 0.4, 0.4, 1.0])
    assert found == pytest.approx([0.83718, -0.06382, -0.87556, -0.44342], abs=5.1e-6)


def test_sides_are_there_once_and_sum_up_what_is_known_of_their_utterances():
    embeddings = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0], [5.0, 0.0]])
    trials = table([(1, "both", "c"), (0, "c", "b"), (1, "both", "b"), (0, "both", "both"), (1, "b", "c")])
    embeddings, ids = np.append(embeddings, [[0.0, 7.0]], axis=0), ["c", "b", "a", "unused", "both"]
    sides = scoring.sides(embeddings, ids, trials, {"both": ["a", "c"], "unasked": ["b"]})
    assert sides.names == ["c", "b", "both", "both"]  # the utterance, then the enrolment
    assert sides.enrol.tolist() == [3, 0, 3, 3, 1]
    assert sides.test.tolist() == [0, 1, 1, 2, 0]
    assert sides.utterances == ["c", "b", "both", "a", "c"]
    assert sides.norms == pytest.approx([5.0, 2.0, 7.0, np.hypot(2.0, 2.0)])
    assert np.square(sides.units).sum(axis=1) == pytest.approx(np.ones(4))
    assert sides.total([1.0, 2.0, 4.0, 8.0, 16.0]).tolist() == [1.0, 2.0, 4.0, 24.0]
    assert sides.mean([1.0, 2.0, 4.0, 8.0, 16.0]).tolist() == [1.0, 2.0, 4.0, 12.0]


def test_enrolments_and_means_that_cannot_be_are_refused():
    trials = table([(1, "m", "a")])
    with pytest.raises(ScoringError, match="1 enrolments have no utterance: m"):
        cosine_scores(np.ones((1, 2)), ["a"], trials, {"m": []})
    with pytest.raises(ScoringError, match=r"a mean \(3,\) for embeddings \(1, 2\)"):
        cosine_scores(np.ones((1, 2)), ["a"], trials, {"m": ["a"]}, mean=[1.0, 2.0, 3.0])
    with pytest.raises(ScoringError, match=r"2 of 2 embeddings are zero or not finite.*: a, m"):
        cosine_scores(np.ones((1, 2)), ["a"], trials, {"m": ["a"]}, mean=[1.0, 1.0])


def test_zero_and_broken_embeddings_are_refused_where_they_are_used():
    embeddings = np.array([[1.0, 0.0], [0.0, 0.0], [np.nan, 1.0], [0.0, 2.0]])
    ids = ["fine", "zero", "broken", "other"]
    assert cosine_scores(embeddings, ids, table([(0, "fine", "other")])).tolist() == [0.0]
    with pytest.raises(ScoringError, match=r"2 of 3 embeddings are zero or not finite.*zero, broken"):
        cosine_scores(embeddings, ids, table([(0, "fine", "zero"), (0, "fine", "broken")]))


def test_ids_must_fit_the_rows():
    trials = table([(1, "a", "b")])
    with pytest.raises(ScoringError, match="one row an id"):
        cosine_scores(np.ones((3, 2)), ["a", "b"], trials)
    with pytest.raises(ScoringError, match="1 utterances have more than one embedding: b"):
        cosine_scores(np.ones((3, 2)), ["a", "b", "b"], trials)
    with pytest.raises(ScoringError, match="lacks test"):
        cosine_scores(np.ones((2, 2)), ["a", "b"], trials.drop_columns(["test"]))


def test_no_trials_give_no_scores():
    assert cosine_scores(np.ones((1, 2)), ["a"], table([])).shape == (0,)


def test_random_embeddings_on_the_voxceleb_list_are_chance(shared_data):
    with gzip.open(shared_data / "voxceleb1" / "veri_test2.txt.gz", "rt") as lines:
        rows = [(int(label), enrol, test) for label, enrol, test in map(str.split, lines)]
    trials = table(rows)
    ids = sorted({name for _, enrol, test in rows for name in (enrol, test)})
    embeddings = np.random.default_rng(0).normal(size=(len(ids), 64)).astype(np.float32)
    scores = cosine_scores(embeddings, ids, trials)
    assert scores.shape == (37_611,)
    assert eer(scores, trials["label"]).value == pytest.approx(0.5, abs=0.02)
