"""Resampled lists against their rule trial by trial, and their variance against a sum over pairs of trials."""

import numpy as np
import pytest

from vgsr.evaluation import resampling
from vgsr.evaluation.metrics import operating_points
from vgsr.evaluation.resampling import Replicates, draws, pair_weights, resample, speaker_weights, voices
from vgsr.evaluation.weighted import rank


def some_list(rng, speakers, targets=3, nontargets=8):
    """Flags and speakers of a list in which everyone has so many trials."""
    owner, one = np.repeat(np.arange(speakers), targets), np.repeat(np.arange(speakers), nontargets)
    other = (one + rng.integers(1, speakers, len(one))) % speakers
    order = rng.permutation(len(owner) + len(one))
    target = np.arange(len(order)) < len(owner)
    return target[order], np.append(owner, one)[order], np.append(owner, other)[order]


def test_a_speaker_drawn_n_times_has_n_times_their_trials():
    rng = np.random.default_rng(0)
    target, enrol, test = some_list(rng, 7)
    lists = draws(7, 50, rng)
    weights = speaker_weights(voices(target, enrol, test), lists)
    for row, drawn in zip(weights, lists, strict=True):
        assert drawn.sum() == 7
        expected = [drawn[e] if t else drawn[e] * drawn[o] for t, e, o in zip(target, enrol, test, strict=True)]
        assert row.tolist() == expected
    assert weights.max() >= 4  # somebody was drawn twice, twice over


def test_a_pair_drawn_n_times_has_n_times_its_trials_whoever_is_enrolled():
    rng = np.random.default_rng(1)
    target, enrol, test = some_list(rng, 6)
    pairs = [frozenset((e, o)) for e, o in zip(enrol, test, strict=True)]
    who = voices(target, enrol, test)
    weights = pair_weights(who, draws(who.pairs, 50, rng))
    assert (weights[:, target] == 1).all()
    for row in weights:
        drawn = {}
        for pair, weight, is_target in zip(pairs, row, target, strict=True):
            if not is_target:
                assert drawn.setdefault(pair, weight) == weight
        assert sum(drawn.values()) == len(drawn)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    target, enrol, test = some_list(rng, 9)
    who, systems = voices(target, enrol, test), [rank(rng.normal(size=len(target)) + target, target) for _ in range(2)]
    whole = resample(systems, who, 25, seed=3)
    monkeypatch.setattr(resampling, "BLOCK", 4 * len(target))
    cut = resample(systems, who, 25, seed=3)
    assert whole.by_speaker.tolist() == cut.by_speaker.tolist() and whole.by_pair.tolist() == cut.by_pair.tolist()
    assert resample(systems, who, 25, seed=4).by_speaker.tolist() != whole.by_speaker.tolist()


def test_lists_without_a_kind_of_trial_are_dropped_and_counted():
    # One pair of speakers has the only non-target trial: it is in a list when both of them are.
    target, enrol, test = np.array([1, 1, 1, 1, 0]) == 1, np.array([0, 1, 2, 3, 0]), np.array([0, 1, 2, 3, 1])
    who, ranked = voices(target, enrol, test), rank(np.array([1.0, 2, 3, 4, 2.5]), target)
    sampled = resample([ranked], who, 400, seed=0)
    weights = speaker_weights(who, draws(4, 400, np.random.default_rng([0, 0])))
    assert sampled.dropped == (weights[:, 4] == 0).sum() > 100
    assert sampled.by_speaker.shape == (1, 400 - sampled.dropped) and len(sampled.drawn) == 400 - sampled.dropped
    assert not np.isnan(sampled.by_speaker).any()


def linearised(scores, target):
    """What each trial moves the EER by, to first order: at its threshold, with densities from a wide secant."""
    points = operating_points(scores, target)
    value, gap = points.eer(), points.miss - points.false_alarm
    low, high = np.searchsorted(gap, -value.value), np.searchsorted(gap, value.value)
    misses, alarms = points.miss[high] - points.miss[low], points.false_alarm[low] - points.false_alarm[high]
    share = alarms / (misses + alarms)
    missed, accepted = scores < value.threshold, scores >= value.threshold
    of_targets = share * (missed - missed[target].mean()) / target.sum()
    of_nontargets = (1 - share) * (accepted - accepted[~target].mean()) / (~target).sum()
    return np.where(target, of_targets, of_nontargets)


def test_the_variance_is_that_of_trials_that_depend_when_they_share_a_speaker():
    rng = np.random.default_rng(5)
    expected, found, plain = [], [], []
    for _ in range(12):
        target, enrol, test = some_list(rng, 60, targets=4, nontargets=16)
        voice = rng.normal(size=(60, 6))
        alike = (voice[enrol] * voice[test]).sum(axis=1) / 2
        shared, own = rng.normal(size=(2, len(target)))
        a, b = (np.where(target, 3.0, alike) + shared + 0.7 * noise for noise in (own, rng.normal(size=len(target))))
        ranked = [rank(scores, target) for scores in (a, b)]
        contrast = np.array([1, -1]) / [one.eer for one in ranked]
        sampled = resample(ranked, voices(target, enrol, test), 400, seed=0)
        found.append(sampled.variance(contrast))
        plain.append(np.var(contrast @ sampled.by_speaker))
        moves = contrast @ [linearised(scores, target) for scores in (a, b)]
        dependent = np.zeros((len(moves), len(moves)), dtype=bool)
        for one in (enrol, test):
            for other in (enrol, test):
                dependent |= one[:, None] == other[None, :]
        expected.append(moves @ dependent @ moves)
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.2)
    assert np.mean(plain) > 1.3 * np.mean(expected)  # what the correction is for


def test_the_correction_never_leaves_less_than_there_can_be():
    def variance(pairs):
        figures = np.array([[1.0, 2.0, 3.0, 4.0]])
        return Replicates(figures, pairs * figures, np.zeros((4, 2), dtype=np.int32), 0).variance(np.ones(1))

    assert variance(0) == pytest.approx(5 / 3)
    assert variance(0.5) == pytest.approx(5 / 3 - 2 * 5 / 12)
    assert variance(1) == pytest.approx(5 / 9)


@pytest.mark.parametrize(
    ("contributions", "freedom"),
    [
        ([1.0, -1] * 10, 19),  # no speaker matters more: one less than there are
        ([1.0] + [0] * 19, 2.35),  # all is due to one: two, and a little more, as contributions are centred
        ([1.0, -1, 0, 0, 0, 0, 0, 0, 0, 0], 2 / (1 / 2 - 1 / 10)),
        ([0.0] * 6, 5),
    ],
)
def test_few_speakers_who_make_the_variance_are_few_degrees_of_freedom(contributions, freedom):
    drawn = draws(len(contributions), 100_000, np.random.default_rng(0))
    figures = (drawn @ np.array(contributions))[None]
    assert Replicates(figures, figures, drawn, 0).freedom(np.ones(1)) == pytest.approx(freedom, rel=0.03)
