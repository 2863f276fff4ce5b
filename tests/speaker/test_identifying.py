"""Who speaks: Bayes' rule over the people of a gallery and nobody, against the same with plain numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vgsr import speaker
from vgsr.evaluation import calibration
from vgsr.speaker import gallery, identifying
from vgsr.speaker.gallery import GalleryError


@pytest.fixture(scope="module")
def people(model, spoken):
    found = gallery.new(model, "m")
    for person in range(4):
        takes = [spoken(person, 2.0, take) for take in range(1 + person)]
        found, done = gallery.enroll(model, found, f"person {person}", takes)
        assert len(done.added) == 1 + person
    return found


def calibrated(model, scale, offset):
    return replace(model, facts={**model.facts, "calibration": {"scale": scale, "offset": offset}})


def by_hand(model, spoken, wave, scale, offset):
    """Names with score and probability, and the probability of a stranger, number by number."""
    scores = {}
    test = [float(x) for x in model.embed(wave)]
    for person in range(4):
        takes = [model.embed(spoken(person, 2.0, take)) for take in range(1 + person)]
        mean = [sum(float(take[i]) for take in takes) / len(takes) for i in range(len(test))]
        dot = sum(a * b for a, b in zip(mean, test, strict=True))
        scores[f"person {person}"] = dot / math.hypot(*mean) / math.hypot(*test)
    ratios = {name: math.exp(scale * score + offset) for name, score in scores.items()}
    total = 0.5 + sum(0.5 / 4 * ratio for ratio in ratios.values())
    return {name: (scores[name], 0.5 / 4 * ratios[name] / total) for name in scores}, 0.5 / total


@pytest.mark.parametrize(("scale", "offset"), [(10.0, -5.0), (300.0, -290.0), (2000.0, -1990.0), (50.0, -60.0)])
@pytest.mark.parametrize("speaks", [0, 2, 9])
def test_probabilities_are_bayes_rule(model, people, spoken, scale, offset, speaks):
    wave = spoken(speaks, 3.0, 77)
    found = identifying.identify(calibrated(model, scale, offset), people, wave)
    wanted, stranger = by_hand(model, spoken, wave, scale, offset)
    assert found.stranger == pytest.approx(stranger, abs=1e-6)
    assert [one.name for one in found.candidates] == sorted(wanted, key=lambda name: -wanted[name][0])
    for one in found.candidates:
        assert (one.score, one.probability) == pytest.approx(wanted[one.name], rel=1e-4, abs=1e-9)
        assert one.llr == pytest.approx(scale * one.score + offset)
    best = found.candidates[0]
    assert found.accepted == (best.name if wanted[best.name][1] > 0.5 else None)
    # Below the threshold a stranger is more probable than the best; that is what the threshold is.
    assert (best.score < found.threshold) == (stranger > best.probability)
    assert bool(found.problem) == (stranger < best.probability < 0.5)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scale=st.floats(1, 5000), offset=st.floats(-5000, 0))
def test_a_verdict_is_one_of_three(model, people, spoken, scale, offset):
    found = identifying.identify(calibrated(model, scale, offset), people, spoken(1, 2.0, 5))
    assert sum(one.probability for one in found.candidates) + found.stranger == pytest.approx(1)
    nobody = found.stranger >= found.candidates[0].probability
    assert [found.accepted is not None, bool(found.problem), nobody].count(True) == 1
    if found.problem:
        assert found.problem.startswith(f"fits several people: {found.candidates[0].name} (")


def test_every_person_more_raises_the_threshold(model, people, spoken):
    wave, thresholds = spoken(0, 2.0, 5), []
    for count in (1, 2, 3, 4):
        rows = [int(row) for name in list(people.people)[:count] for row in people.people[name]]
        some = replace(people, table=people.table.take(rows))
        thresholds.append(identifying.identify(model, some, wave).threshold)
    assert thresholds == sorted(thresholds) and len(set(thresholds)) == 4
    assert thresholds[0] == pytest.approx(calibration.threshold(model.calibration, 0.5))
    assert 10 * thresholds[3] - 5 == pytest.approx(math.log(4))


def test_who_enrolled_with_this_recording_alone_fits_it_best(model, people, spoken):
    found = identifying.identify(calibrated(model, 5000.0, -4990.0), people, spoken(0, 2.0, 0))
    assert found.candidates[0].name == found.accepted == "person 0"
    assert found.candidates[0].score == pytest.approx(1)


def test_what_is_too_short_to_judge_is_scored(model, people, spoken):
    short = np.append(spoken(1)[:9600], np.zeros(16000, np.float32))
    found = identifying.identify(model, people, short)
    assert found.problem.startswith("has 0.") and len(found.candidates) == 4


def test_nobody_is_in_an_empty_gallery_and_another_models_is_refused(model, untrained, people, spoken):
    with pytest.raises(GalleryError, match="nobody is in the gallery"):
        identifying.identify(model, gallery.new(model, "m"), spoken(1))
    with pytest.raises(GalleryError, match="another model"):
        identifying.identify(speaker.load(untrained(seed=5)), people, spoken(1))
