"""AS-norm against one score at a time in double precision, and against other toolkits' figures."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgsr.evaluation import cohort, scoring
from vgsr.evaluation.cohort import Cohort, as_norm, speaker_means, statistics
from vgsr.evaluation.scoring import ScoringError

# A corpus and a trial list of whole numbers, put through the code of WeSpeaker and SpeechBrain by hand.
TRAINING = {
    "s0": [[4, 1, -2, 1], [2, 3, -1, 0]],
    "s1": [[-3, 2, 1, 2]],
    "s2": [[1, -4, 2, 1], [3, -2, 2, 2], [1, -1, 3, 0]],
    "s3": [[2, 2, 3, -1]],
    "s4": [[-1, 3, -2, 4], [0, 1, -1, 3]],
    "s5": [[3, -1, -1, -2]],
}
IDS = ["a", "b", "c", "d"]
EMBEDDINGS = np.array([[3, 2, -1, 1], [2, 2, -2, 0], [-1, 3, 1, 2], [1, -3, 3, 1]], np.float32)
PAIRS = [("a", "b"), ("a", "c"), ("d", "b"), ("c", "d")]


def trials(pairs):
    enrol, test = zip(*pairs, strict=True)
    return pa.table({"enrol": pa.array(enrol, pa.string()), "test": pa.array(test, pa.string())})


def training():
    speakers = [name for name, rows in TRAINING.items() for _ in rows]
    return np.array([row for rows in TRAINING.values() for row in rows], np.float32), speakers


def normalised(embeddings, ids, table, against, top, enrolments=None):
    sides = scoring.sides(embeddings, ids, table, enrolments, against.mean)
    return as_norm(scoring.cosine(sides), sides, statistics(sides, against, top))


def slow_cosine(x, y):
    dot = sum(p * q for p, q in zip(x, y, strict=True))
    return dot / (sum(p * p for p in x) * sum(q * q for q in y)) ** 0.5


def slow_side(vector, means, top):
    highest = sorted((slow_cosine(vector, row) for row in means), reverse=True)[:top]
    mean = sum(highest) / top
    return mean, (sum((value - mean) ** 2 for value in highest) / top) ** 0.5


@given(seed=st.integers(0, 2**32 - 1), centred=st.booleans(), speakers=st.integers(5, 30), data=st.data())
@settings(max_examples=40, deadline=None)
def test_as_norm_is_that_of_one_trial_at_a_time_in_double_precision(seed, centred, speakers, data):
    rng = np.random.default_rng(seed)
    top = data.draw(st.integers(4, speakers))
    embeddings, ids = rng.normal(size=(12, 16)).astype(np.float32), [f"u{i}" for i in range(12)]
    enrolments = {"m": ["u1", "u5", "u6"]}
    pairs = list(zip(rng.choice([*ids, "m"], 25), rng.choice(ids, 25), strict=True))
    mean = 0.3 * rng.normal(size=16) if centred else np.zeros(16)
    against = Cohort("cohort", rng.normal(size=(speakers, 16)).astype(np.float32), mean if centred else None)
    found = normalised(embeddings, ids, trials(pairs), against, top, enrolments)

    means = (against.means.astype(np.float64) - mean).tolist()
    for (enrol, test), score in zip(pairs, found, strict=True):
        sides = [
            (np.mean([embeddings[ids.index(u)].astype(np.float64) for u in names], axis=0) - mean).tolist()
            for names in (enrolments.get(enrol, [enrol]), [test])
        ]
        raw = slow_cosine(*sides)
        of_sides = [slow_side(side, means, top) for side in sides]
        normal = [(raw - m) / d for m, d in of_sides]
        # Float32 products of unit vectors are off by 2e-7 at most, and so are mean and deviation.
        bound = sum(2e-7 * (1 + abs(z)) / d for z, (_, d) in zip(normal, of_sides, strict=True))
        assert score == pytest.approx(sum(normal) / 2, abs=bound)


def test_single_precision_moves_a_score_by_less_than_a_hundred_thousandth():
    rng = np.random.default_rng(3)
    embeddings, ids = rng.normal(size=(40, 192)).astype(np.float32), [f"u{i}" for i in range(40)]
    against = Cohort("cohort", rng.normal(size=(2000, 192)), rng.normal(size=192))
    pairs = list(zip(rng.choice(ids, 200), rng.choice(ids, 200), strict=True))
    found = normalised(embeddings, ids, trials(pairs), against, 300)
    units = embeddings - against.mean
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    means = against.means - against.mean
    highest = np.sort(units @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T, axis=1)[:, -300:]
    rows = np.array([[ids.index(name) for name in pair] for pair in pairs])
    raw = np.einsum("td,td->t", units[rows[:, 0]], units[rows[:, 1]])
    exact = np.mean([(raw - highest.mean(axis=1)[side]) / highest.std(axis=1)[side] for side in rows.T], axis=0)
    # Scores of an utterance with itself are about 25: there it is two millionths of the score.
    assert found == pytest.approx(exact, abs=1e-5, rel=2e-6)


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_neither_blocks_nor_the_order_of_trials_or_embeddings_matter(monkeypatch, block):
    rng = np.random.default_rng(4)
    embeddings, ids = rng.normal(size=(50, 24)).astype(np.float32), [f"u{i}" for i in range(50)]
    pairs = np.stack([rng.choice(ids, 200), rng.choice(ids, 200)], axis=1)
    against = Cohort("cohort", rng.normal(size=(60, 24)))
    reference = normalised(embeddings, ids, trials(pairs), against, 20)
    monkeypatch.setattr(cohort, "BLOCK", block)
    order, rows, speakers = rng.permutation(200), rng.permutation(50), rng.permutation(60)
    shuffled = Cohort("cohort", against.means[speakers])
    found = normalised(embeddings[rows], [ids[row] for row in rows], trials(pairs[order]), shuffled, 20)
    assert found == pytest.approx(reference[order], abs=1e-5)


def test_the_two_sides_count_alike():
    rng = np.random.default_rng(5)
    embeddings, against = rng.normal(size=(2, 8)), Cohort("cohort", rng.normal(size=(20, 8)))
    found = normalised(embeddings, ["a", "b"], trials([("a", "b"), ("b", "a")]), against, 5)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("top", "scores"),
    [(3, [1.03545, -1.78538, -3.96446, -2.55902]), (6, [1.42303, -0.19622, -1.57749, -0.71333])],
)
def test_as_norm_is_that_of_wespeaker(top, scores):
    # Written by main of wespeaker/bin/score_norm.py ("asnorm") from the scores of wespeaker/bin/score.py, with speaker
    # means of tools/vector_mean.py and the mean of the training embeddings subtracted (commit
    # dfa741957e5c11f477623b6e583d67d0af25ee88). It rounds scores to 5 digits before and after.
    embeddings, speakers = training()
    against = Cohort("training", speaker_means(embeddings, speakers)[1], embeddings.mean(axis=0))
    assert normalised(EMBEDDINGS, IDS, trials(PAIRS), against, top) == pytest.approx(scores, abs=5e-5)


def test_statistics_are_those_of_wespeaker():
    # get_mean_std of wespeaker/bin/score_norm.py at the same commit, on the same embeddings in float64, top 3.
    embeddings, speakers = training()
    against = Cohort("training", speaker_means(embeddings, speakers)[1], embeddings.mean(axis=0))
    found = statistics(scoring.sides(EMBEDDINGS, IDS, trials(PAIRS), None, against.mean), against, 3)
    expected = [0.4798739350617836, 0.5419685797812616, 0.5620337992056986, 0.3662649925048773]
    assert found.mean == pytest.approx(expected, abs=1e-6)
    expected = [0.3526466894599921, 0.27911143236755354, 0.3084527906298512, 0.4356967729196553]
    assert found.deviation == pytest.approx(expected, abs=1e-6)


def test_as_norm_is_that_of_speechbrain_but_for_the_divisor_of_the_deviation():
    # get_verification_scores of recipes/VoxCeleb/SpeakerRec/speaker_verification_cosine.py ("s-norm", cohort_size 3,
    # every training utterance a cohort of its own, commit 9c826ef3937bac885c8a6ca86c6889a30f256fb5). Its
    # deviation divides by 3 - 1, ours by 3.
    embeddings, _ = training()
    expected = [0.5333493634385328, -3.0317306265559574, -14.916511512104643, -13.874383662349032]
    found = normalised(EMBEDDINGS, IDS, trials(PAIRS), Cohort("training", embeddings), 3)
    assert found / np.sqrt(3 / 2) == pytest.approx(expected, rel=2e-5)


def test_speaker_means_are_those_of_raw_embeddings():
    rng = np.random.default_rng(6)
    embeddings, speakers = rng.normal(size=(40, 3)).astype(np.float32), [f"s{i}" for i in rng.integers(0, 11, 40)]
    names, means = speaker_means(embeddings, speakers)
    assert names == sorted(set(speakers))
    for name, mean in zip(names, means, strict=True):
        own = [row.tolist() for row, speaker in zip(embeddings, speakers, strict=True) if speaker == name]
        assert mean == pytest.approx([sum(column) / len(own) for column in zip(*own, strict=True)], abs=1e-12)


def test_a_cohort_that_cannot_be_is_refused():
    rng = np.random.default_rng(7)
    sides = scoring.sides(rng.normal(size=(4, 4)), IDS, trials(PAIRS))
    with pytest.raises(ScoringError, match=r"300 highest scores of a cohort of 20 speakers \(small\): .* 2 and 20"):
        statistics(sides, Cohort("small", rng.normal(size=(20, 4))), 300)
    with pytest.raises(ScoringError, match="take between 2 and 20"):
        statistics(sides, Cohort("small", rng.normal(size=(20, 4))), 1)
    with pytest.raises(ScoringError, match=r"means \(20, 5\) for embeddings of 4"):
        statistics(sides, Cohort("other", rng.normal(size=(20, 5))), 10)
    with pytest.raises(ScoringError, match=r"1 of 20 embeddings are zero or not finite.*speaker 3 of the cohort"):
        statistics(sides, Cohort("broken", np.where(np.arange(20)[:, None] == 3, np.nan, 1.0) * np.ones(4)), 10)
    with pytest.raises(ScoringError, match="expected one row and one speaker"):
        speaker_means(np.ones((2, 3)), ["a"])
    with pytest.raises(ScoringError, match=r"scores \(3,\) of 4 trials"):
        as_norm([1.0, 2.0, 3.0], sides, statistics(sides, Cohort("cohort", rng.normal(size=(20, 4))), 10))


def test_a_cohort_of_copies_has_no_deviation_and_says_so():
    rng = np.random.default_rng(8)
    sides = scoring.sides(rng.normal(size=(4, 192)), IDS, trials(PAIRS))
    copies = Cohort("copies", np.tile(rng.normal(size=192), (50, 1)))
    with pytest.raises(ScoringError, match=r"10 highest cohort scores of 4 sides are all the same.*: a, b, c, d\."):
        statistics(sides, copies, 10)
