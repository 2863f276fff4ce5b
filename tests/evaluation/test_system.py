"""Systems on trial lists: scores as a loop over trials would make them, figures with the right protocol."""

import dataclasses

import numpy as np
import pytest

from vgsr.data import manifest as manifests
from vgsr.data.manifest import ManifestError
from vgsr.evaluation import calibration, system
from vgsr.evaluation.calibration import Calibration
from vgsr.evaluation.metrics import eer
from vgsr.evaluation.protocol import trials_digest
from vgsr.evaluation.system import Scoring, System

DIMENSION, TRAINED, VALIDATED, TESTED = 12, 8, 4, 5
P_TARGETS = (0.01, 0.05)


def rows():
    """Speakers p0, p1, … of three utterances each: the first ones train, then validation, then test."""
    splits = ["train"] * TRAINED + ["validation"] * VALIDATED + ["test"] * TESTED
    return [
        {
            "utterance_id": f"p{speaker}-{number}",
            "speaker": f"p{speaker}",
            "session": f"{number}",
            "uri": f"p{speaker}-{number}.wav",
            "start": 0.0,
            "seconds": 1.0 + number + speaker / 10,
            "sample_rate": 16000,
            "split": split,
            "speech_snr": 10.0 + speaker,
            "speech_clipping": 0.0,
            "speech_dnsmos": None,
        }
        for speaker, split in enumerate(splits)
        for number in range(3)
    ]


def pairs(first, last):
    ids = [f"p{speaker}-{number}" for speaker in range(first, last) for number in range(3)]
    return [(int(a[: a.index("-")] == b[: b.index("-")]), a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    first, last = TRAINED + VALIDATED, TRAINED + VALIDATED + TESTED
    enrolled = [(f"model-{speaker}", f"p{speaker}-{number}") for speaker in range(first, last) for number in (0, 1)]
    several = [
        (int(one == other), f"model-{one}", f"p{other}-2") for one in range(first, last) for other in range(first, last)
    ]
    folder = tmp_path_factory.mktemp("corpus")
    return manifests.write(
        folder,
        corpus="paper",
        root=folder,
        synthetic=False,
        utterances=rows(),
        faces=[],
        trials={"validation": pairs(TRAINED, first), "pairs": pairs(first, last), "models": several},
        problems=[],
        enrolments={"models": enrolled},
    )


def vector(name):
    """An embedding that depends on the speaker, and a little on the utterance; the same in every call."""
    speaker, number = name[1:].split("-")
    own, noise = (np.random.default_rng(seed).normal(size=DIMENSION) for seed in (int(speaker), hash_of(name)))
    return own + 0.8 * noise + 0.7 + 0.1 * int(number)


def hash_of(name):
    return sum(ord(letter) * 31**place for place, letter in enumerate(name)) % 2**32


def embed(manifest, ids):
    return np.stack([vector(name) for name in ids])


def cosine(a, b):
    return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))


def one_by_one(corpus, name, score):
    enrolled = corpus.enrolled(name)

    def side(one):
        return np.mean([vector(utterance) for utterance in enrolled.get(one, [one])], axis=0)

    return [score(side(row["enrol"]), side(row["test"])) for row in corpus.trials[name].to_pylist()]


@pytest.mark.parametrize("name", ["pairs", "models"])
def test_plain_scores_are_cosines_of_each_pair(corpus, name):
    plain = System(embed, Scoring(), "cosine", calibrated=Calibration(3.0, -1.0))
    (tested,) = system.test(plain, corpus, [name], P_TARGETS)
    expected = one_by_one(corpus, name, cosine)
    labels = corpus.trials[name]["label"].to_pylist()
    np.testing.assert_allclose(tested.scores["score"].to_numpy(), expected, atol=1e-12)
    assert tested.scores.drop_columns(["enrol_speaker", "test_speaker", "score"]) == corpus.trials[name]
    assert tested.result.eer == pytest.approx(eer(expected, labels).value)
    same = [row["enrol_speaker"] == row["test_speaker"] for row in tested.scores.to_pylist()]
    assert same == [bool(label) for label in labels]
    # The log-likelihood ratios are those of the calibration it was given.
    llrs = 3.0 * np.array(expected) - 1.0
    wrong = [np.log1p(np.exp(-llr if label else llr)) for llr, label in zip(llrs, labels, strict=True)]
    targets = np.array(labels, bool)
    by_hand = (np.mean(np.array(wrong)[targets]) + np.mean(np.array(wrong)[~targets])) / 2 / np.log(2)
    assert tested.result.cllr == pytest.approx(by_hand)


def test_the_mean_of_the_training_split_is_taken_off(corpus):
    prepared = system.prepare(embed, Scoring("mean"), corpus)
    mean = np.mean([vector(row["utterance_id"]) for row in rows() if row["split"] == "train"], axis=0)
    expected = one_by_one(corpus, "models", lambda a, b: cosine(a - mean, b - mean))
    (tested,) = system.test(prepared, corpus, ["models"], P_TARGETS)
    np.testing.assert_allclose(tested.scores["score"].to_numpy(), expected, atol=1e-9)
    assert tested.result.protocol.normalisation == (
        "cosine minus the mean of paper/train, calibrated on paper/validation"
    )
    assert tested.result.protocol.enrolment == "mean of 2 utterances"


def test_as_norm_is_what_a_loop_over_the_cohort_makes(corpus):
    top = 5
    prepared = system.prepare(embed, Scoring("as-norm", top), corpus)
    trained = [row for row in rows() if row["split"] == "train"]
    mean = np.mean([vector(row["utterance_id"]) for row in trained], axis=0)
    speakers = sorted({row["speaker"] for row in trained})
    cohort = [
        np.mean([vector(row["utterance_id"]) for row in trained if row["speaker"] == one], axis=0) - mean
        for one in speakers
    ]

    def normalised(a, b):
        a, b = a - mean, b - mean
        score, parts = cosine(a, b), []
        for side in (a, b):
            highest = sorted((cosine(side, other) for other in cohort), reverse=True)[:top]
            parts.append((score - np.mean(highest)) / np.std(highest))
        return sum(parts) / 2

    (tested,) = system.test(prepared, corpus, ["pairs"], P_TARGETS)
    np.testing.assert_allclose(tested.scores["score"].to_numpy(), one_by_one(corpus, "pairs", normalised), rtol=1e-4)
    assert "AS-norm top 5 of 8 speaker means" in tested.result.protocol.line()
    # A cohort smaller than `top` is taken whole, and the protocol says so.
    assert "top 8 of 8" in system.prepare(embed, Scoring("as-norm", 300), corpus).words


def test_calibration_is_learned_on_the_validation_list_and_nowhere_else(corpus):
    prepared = system.prepare(embed, Scoring("mean"), corpus)
    mean = prepared.cohort.mean
    scores = one_by_one(corpus, "validation", lambda a, b: cosine(a - mean, b - mean))
    fitted = calibration.fit(scores, corpus.trials["validation"]["label"].to_numpy())
    assert dataclasses.astuple(prepared.calibrated) == pytest.approx(dataclasses.astuple(fitted), rel=1e-6)


def test_qmf_scores_are_log_likelihood_ratios(corpus):
    prepared = system.prepare(embed, Scoring("as-norm", 5, qmf=True), corpus)
    (tested,) = system.test(prepared, corpus, ["pairs"], P_TARGETS)
    assert tested.result.cllr is not None and set(tested.result.act_dcf) == set(P_TARGETS)
    assert "QMF of score" in tested.result.protocol.line()
    # Of the first trial, by hand: what is weighed besides the score does not depend on which side enrols.
    first, facts = tested.scores.to_pylist()[0], {row["utterance_id"]: row for row in rows()}
    sides = [vector(first[side]) - prepared.cohort.mean for side in ("enrol", "test")]
    speakers = prepared.cohort.means - prepared.cohort.mean
    highest = [np.sort([cosine(side, one) for one in speakers])[-5:] for side in sides]
    normalised = sum((cosine(*sides) - one.mean()) / one.std() for one in highest) / 2
    measured = {
        "log_seconds": [np.log(facts[first[side]]["seconds"]) for side in ("enrol", "test")],
        "norm": [np.linalg.norm(side) for side in sides],
        "imposter_mean": [one.mean() for one in highest],
        "snr": [facts[first[side]]["speech_snr"] for side in ("enrol", "test")],
    }
    values = {"score": normalised}
    values |= {name: sum(both) / 2 for name, both in measured.items()}
    weights = prepared.calibrated.weights
    assert set(values) == set(weights)
    by_hand = sum(weight * values[name] for name, weight in weights.items()) + prepared.calibrated.offset
    assert first["score"] == pytest.approx(by_hand, rel=1e-3)


def test_a_cohort_that_knows_the_trials_is_refused(corpus):
    prepared = system.prepare(embed, Scoring("as-norm", 5), corpus)
    leaky = dataclasses.replace(prepared, cohort_speakers=(*prepared.cohort_speakers, f"p{TRAINED + VALIDATED}"))
    elsewhere = dataclasses.replace(leaky, background="another corpus with people of the same names")
    for one in (leaky, elsewhere):
        with pytest.raises(ManifestError, match=f"in the cohort .*p{TRAINED + VALIDATED}"):
            system.test(one, corpus, ["pairs"], P_TARGETS)
    assert len(system.test(elsewhere, corpus, ["pairs"], P_TARGETS, namesakes=True)) == 1


def test_every_utterance_is_embedded_once(corpus):
    asked = []

    def counting(manifest, ids):
        asked.extend(ids)
        return embed(manifest, ids)

    system.test(System(counting, Scoring(), "cosine"), corpus, ["pairs", "models"], P_TARGETS)
    assert sorted(asked) == sorted(row["utterance_id"] for row in rows() if row["split"] == "test")


def test_what_a_background_lacks_is_said(corpus, tmp_path):
    others = [row for row in rows() if row["split"] == "test"]
    settings = {"corpus": "c", "root": tmp_path, "synthetic": False, "faces": [], "problems": []}
    bare = manifests.write(tmp_path / "m", utterances=others, trials={"pairs": pairs(12, 17)}, **settings)
    with pytest.raises(ManifestError, match="nobody is in its training split"):
        system.prepare(embed, Scoring("as-norm"), bare)
    with pytest.raises(ManifestError, match="'validation', which QMF"):
        system.prepare(embed, Scoring(qmf=True), bare)
    (tested,) = system.test(system.prepare(embed, Scoring(), bare), bare, ["pairs"], P_TARGETS)
    assert tested.result.cllr is None and tested.result.act_dcf == {}


def test_the_protocol_knows_who_was_enrolled_by_what(corpus, tmp_path):
    (tested,) = system.test(System(embed, Scoring(), "cosine"), corpus, ["models"], P_TARGETS)
    assert tested.result.protocol.digest != trials_digest(corpus.trials["models"])
    (single,) = system.test(System(embed, Scoring(), "cosine"), corpus, ["pairs"], P_TARGETS)
    assert single.result.protocol.digest == trials_digest(corpus.trials["pairs"])
    assert single.result.protocol.enrolment == "1 utterance"
