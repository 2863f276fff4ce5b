"""Cosine scores against one trial at a time."""

import gzip

import numpy as np
import pyarrow as pa
import pytest

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


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("block", [7, 16_384])
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
        x, y = [float(v) for v in embeddings[a]], [float(v) for v in embeddings[b]]
        dot = sum(p * q for p, q in zip(x, y, strict=True))
        assert score == pytest.approx(dot / (sum(p * p for p in x) * sum(q * q for q in y)) ** 0.5, abs=1e-12)


def test_an_utterance_with_itself_scores_one_and_order_does_not_matter():
    embeddings = np.random.default_rng(2).normal(size=(3, 192)).astype(np.float32)
    found = cosine_scores(embeddings, ["a", "b", "c"], table([(1, "a", "a"), (0, "a", "c"), (0, "c", "a")]))
    assert found[0] == pytest.approx(1.0, abs=1e-12)
    assert found[0] <= 1.0
    assert found[1] == found[2]


def test_missing_utterances_are_counted_and_named():
    trials = table([(1, "a", f"gone{i}") for i in range(8)] + [(1, "gone0", "a")])
    with pytest.raises(ScoringError, match=r"8 utterances of the trials have no embedding: gone0, .*gone4, …"):
        cosine_scores(np.ones((1, 2)), ["a"], trials)


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
