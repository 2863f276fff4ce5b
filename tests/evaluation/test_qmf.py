"""Quality-aware calibration on trials whose scores depend on a quality, and on trials where they do not."""

import json
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest

from vgsr.evaluation import calibration, qmf, scoring
from vgsr.evaluation.cllr import cllr
from vgsr.evaluation.cohort import Cohort, statistics
from vgsr.evaluation.metrics import eer
from vgsr.evaluation.qmf import Measures, Qmf
from vgsr.evaluation.scoring import ScoringError

UTTERANCES = 400


def trials(pairs):
    return pa.table({"enrol": pa.array([a for a, _ in pairs], pa.string()), "test": pa.array([b for _, b in pairs])})


def drawn(seed, count=20_000):
    """Sides of random pairs of utterances, and their labels: the embeddings themselves say nothing."""
    rng = np.random.default_rng(seed)
    ids = [f"u{i}" for i in range(UTTERANCES)]
    sides = scoring.sides(rng.normal(size=(UTTERANCES, 4)), ids, trials(rng.choice(ids, size=(count, 2))))
    return rng, sides, rng.random(count) < 0.3


def disturbed_by_duration(seed):
    """Scores that lie lower and spread wider the shorter the sides are, and the seconds of each utterance."""
    rng, sides, labels = drawn(seed)
    seconds = dict(zip(sides.names, np.exp(rng.uniform(0, 3, len(sides.names))), strict=True))
    log_seconds = np.log([seconds[name] for name in sides.names])
    length = (log_seconds[sides.enrol] + log_seconds[sides.test]) / 2
    scores = (4.0 * labels - 2.0) + 3.5 * length + rng.normal(size=len(labels)) * (2.0 - 0.3 * length)
    return scores, labels, sides, qmf.measures(sides, seconds=seconds)


def test_knowing_the_duration_lowers_cllr_and_eer_of_other_trials():
    scores, labels, sides, measures = disturbed_by_duration(1)
    aware, plain = qmf.fit(scores, labels, sides, measures), calibration.fit(scores, labels)
    scores, labels, sides, measures = disturbed_by_duration(2)
    found = aware.llr(scores, sides, measures)
    # The scatter that the duration explains is as large as the rest: both figures fall by a third at least.
    assert cllr(found, labels) < 0.67 * cllr(plain.llr(scores), labels)
    assert eer(found, labels).value < 0.67 * eer(scores, labels).value


def test_measures_that_say_nothing_do_no_harm():
    def uninformed(seed):
        rng, sides, labels = drawn(seed)
        figures = dict(zip(sides.names, rng.uniform(1, 20, len(sides.names)), strict=True))
        scores = 4.0 * labels - 2.0 + 1.5 * rng.normal(size=len(labels))
        return scores, labels, sides, qmf.measures(sides, seconds=figures, snr=figures)

    scores, labels, sides, measures = uninformed(3)
    aware, plain = qmf.fit(scores, labels, sides, measures), calibration.fit(scores, labels)
    scores, labels, sides, measures = uninformed(4)
    # A weight fitted to noise costs 1/(2·trials) nats on average on other trials (Akaike 1974), here 3 weights and
    # 20,000 trials: 1e-4 bits; twenty times that is not reached by chance.
    assert cllr(aware.llr(scores, sides, measures), labels) < cllr(plain.llr(scores), labels) + 2e-3


def test_that_both_sides_are_of_one_recording_is_not_learned_from_their_measures():
    """Halves of a recording are equally long; whoever notices that has no need of voices."""

    def halves(seed):
        rng, _, labels = drawn(seed)
        ids = [f"u{i}" for i in range(2 * UTTERANCES)]  # u0 and u1 are of one recording, u2 and u3, …
        first = rng.integers(0, UTTERANCES, len(labels))
        second = np.where(labels, first, rng.integers(0, UTTERANCES, len(labels)))
        pairs = [(ids[2 * a], ids[2 * b + 1]) for a, b in zip(first, second, strict=True)]
        sides = scoring.sides(rng.normal(size=(len(ids), 4)), ids, trials(pairs))
        long = rng.uniform(1, 20, UTTERANCES)
        seconds = {name: long[int(name[1:]) // 2] for name in ids}
        scores = 2.0 * labels - 1.0 + 1.5 * rng.normal(size=len(labels))
        return scores, labels, sides, qmf.Measures(log_seconds=qmf.measures(sides, seconds=seconds).log_seconds)

    fitted = qmf.fit(*halves(9))
    scores, labels, sides, measures = halves(10)
    assert eer(fitted.llr(scores, sides, measures), labels).value == pytest.approx(eer(scores, labels).value, abs=0.005)


def test_without_measures_it_is_the_affine_calibration():
    scores, labels, sides, _ = disturbed_by_duration(5)
    found, affine = qmf.fit(scores, labels, sides, Measures(), p_target=0.1), calibration.fit(scores, labels, 0.1)
    assert list(found.weights) == ["score"]
    assert found.llr(scores, sides, Measures()) == pytest.approx(affine.llr(scores), abs=1e-9)


def test_features_are_the_score_and_the_mean_of_both_sides_of_each_measure():
    embeddings = np.array([[3.0, 4.0], [0.0, 2.0], [6.0, 8.0]])
    pairs = [("a", "b"), ("both", "c"), ("c", "b")]
    sides = scoring.sides(embeddings, ["a", "b", "c"], trials(pairs), {"both": ["a", "c"]})
    against = Cohort("cohort", np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]]))
    measures = qmf.measures(
        sides,
        seconds={"a": 2.0, "b": 8.0, "c": 3.0, "unasked": None},
        snr={"a": 10.0, "b": -4.0, "c": 14.0},
        cohort=statistics(sides, against, 2),
    )
    names, table = qmf.features([0.1, 0.2, 0.3], sides, measures)
    assert names == ["score", "log_seconds", "norm", "imposter_mean", "snr"]
    # The enrolment "both" has 2 + 3 s, the norm of (4.5, 6), and 12 dB; all but "b" point in the direction (3, 4).
    towards, other = (0.8 + 11 / 125**0.5) / 2, (1.0 + 2 / 5**0.5) / 2
    assert table == pytest.approx(
        np.array(
            [
                [0.1, np.log(4), 3.5, (towards + other) / 2, 3.0],
                [0.2, np.log(15) / 2, 8.75, towards, 13.0],
                [0.3, np.log(24) / 2, 6.0, (towards + other) / 2, 5.0],
            ]
        ),
        abs=1e-6,
    )


def test_the_side_that_is_called_the_enrolment_does_not_matter():
    scores, _, sides, measures = disturbed_by_duration(6)
    _, there = qmf.features(scores, sides, measures)
    turned = scoring.Sides(
        sides.names, sides.test, sides.enrol, sides.utterances, sides.starts, sides.units, sides.norms
    )
    assert (qmf.features(scores, turned, measures)[1] == there).all()


def test_a_calibration_survives_json():
    scores, labels, sides, measures = disturbed_by_duration(7)
    fitted = qmf.fit(scores, labels, sides, measures)
    again = Qmf(**json.loads(json.dumps(asdict(fitted))))
    assert again == fitted
    assert (again.llr(scores, sides, measures) == fitted.llr(scores, sides, measures)).all()


def test_figures_that_are_missing_name_their_utterances():
    sides = scoring.sides(np.ones((4, 2)), list("abcd"), trials([("m", "d"), ("c", "d")]), {"m": ["a", "b"]})
    good = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    qmf.measures(sides, seconds=good, snr=good)
    for name, bad in (("a", None), ("b", float("nan")), ("c", float("inf")), ("d", 0.0)):
        with pytest.raises(ScoringError, match=f"1 utterances have no usable figure for seconds: {name}. "):
            qmf.measures(sides, seconds=good | {name: bad})
    with pytest.raises(ScoringError, match=r"2 utterances have no usable figure for SNR: b, d\. "):
        qmf.measures(sides, seconds=good, snr={"a": -1.0, "c": 0.0})


def test_what_does_not_fit_is_refused():
    scores, labels, sides, measures = disturbed_by_duration(8)
    fitted = qmf.fit(scores, labels, sides, measures)
    with pytest.raises(ScoringError, match=r"score, log_seconds, norm was given score, norm:"):
        fitted.llr(scores, sides, Measures(norm=measures.norm))
    with pytest.raises(ScoringError, match=r"score, log_seconds, norm was given score, log_seconds, snr:"):
        fitted.llr(scores, sides, Measures(measures.log_seconds, snr=measures.norm))
    with pytest.raises(ScoringError, match=r"scores \(5,\) of 20,000 trials"):
        fitted.llr(scores[:5], sides, measures)
    with pytest.raises(ScoringError, match=r"norm \(7,\) of 400 sides"):
        fitted.llr(scores, sides, Measures(measures.log_seconds, measures.norm[:7]))
