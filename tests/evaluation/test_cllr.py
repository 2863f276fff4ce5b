"""Cllr by its formula; the least Cllr against every rising map of short lists, and against isotonic regression."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.isotonic import IsotonicRegression

from vgsr.evaluation.calibration import fit
from vgsr.evaluation.cllr import cllr, cross_entropy, least_cllr, min_cllr
from vgsr.evaluation.metrics import MetricError, operating_points


@st.composite
def trial_lists(draw, low=-3, high=3):
    """Integer scores from a narrow range, so that most of them are tied; at least one trial of each kind."""
    targets = draw(st.lists(st.integers(low, high), min_size=1, max_size=15))
    nontargets = draw(st.lists(st.integers(low, high), min_size=1, max_size=15))
    pairs = draw(st.permutations([(score, 1) for score in targets] + [(score, 0) for score in nontargets]))
    return [score for score, _ in pairs], [label for _, label in pairs]


def by_definition(llrs, labels):
    """Cllr of LLRs that may be infinite, trial by trial."""
    costs = {0: [], 1: []}
    for llr, label in zip(llrs, labels, strict=True):
        costs[label].append(math.log2(1 + math.exp(-llr if label else llr)))
    return (sum(costs[1]) / len(costs[1]) + sum(costs[0]) / len(costs[0])) / 2


def block_llr(targets, nontargets, labels):
    """The best LLR of a block of so many trials of each kind, in a list with these labels."""
    if not targets or not nontargets:
        return math.inf if targets else -math.inf
    return math.log(targets / labels.count(1)) - math.log(nontargets / labels.count(0))


def counts(scores, labels, among):
    return [sum(s in among and y == kind for s, y in zip(scores, labels, strict=True)) for kind in (1, 0)]


def least_of_all_maps(scores, labels):
    """The cheapest of all partitions of the distinct scores into neighbours whose best LLRs do not fall."""
    distinct = sorted(set(scores))
    best = math.inf
    for cuts in range(len(distinct)):
        for places in combinations(range(1, len(distinct)), cuts):
            blocks = [distinct[a:b] for a, b in pairwise([0, *places, len(distinct)])]
            ratios = [block_llr(*counts(scores, labels, block), labels) for block in blocks]
            if all(a <= b for a, b in pairwise(ratios)):
                of = {score: llr for block, llr in zip(blocks, ratios, strict=True) for score in block}
                best = min(best, by_definition([of[score] for score in scores], labels))
    return best


def pooled(scores, labels):
    """LLRs by pooling adjacent violators, a list of blocks at a time."""
    blocks = []
    for score in sorted(set(scores)):
        blocks.append(([score], *counts(scores, labels, [score])))
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] >= blocks[-1][1] * blocks[-2][2]:
            last, before = blocks.pop(), blocks.pop()
            blocks.append(tuple(a + b for a, b in zip(before, last, strict=True)))
    of = {score: block_llr(t, n, labels) for held, t, n in blocks for score in held}
    return [of[score] for score in scores]


@given(trial_lists())
def test_min_cllr_is_the_least_of_every_rising_map(trials):
    assert min_cllr(*trials) == pytest.approx(least_of_all_maps(*trials), abs=1e-12)


@given(trial_lists(-40, 40))
def test_min_cllr_is_the_cllr_of_pooled_blocks(trials):
    assert min_cllr(*trials) == pytest.approx(by_definition(pooled(*trials), trials[1]), abs=1e-12)


@pytest.mark.parametrize("digits", [0, 1, 8])
def test_min_cllr_is_that_of_another_isotonic_regression(digits):
    rng = np.random.default_rng(digits)
    labels = rng.random(5000) < 0.2
    scores = (rng.normal(size=5000) + 1.5 * labels).round(digits)
    distinct, place, trials = np.unique(scores, return_inverse=True, return_counts=True)
    share = np.bincount(place, labels) / trials
    posterior = IsotonicRegression(y_min=0, y_max=1).fit_transform(distinct, share, sample_weight=trials)
    llrs = logit(posterior)[place] - logit(labels.mean())
    assert min_cllr(scores, labels) == pytest.approx(by_definition(llrs, labels.astype(int).tolist()), abs=1e-9)


@given(trial_lists())
def test_cllr_is_its_formula(trials):
    assert cllr(*trials) == pytest.approx(by_definition(*trials), rel=1e-12)


@given(trial_lists(), st.floats(0.01, 0.99))
def test_cross_entropy_is_that_of_the_posteriors(trials, p_target):
    llrs, labels = np.array(trials[0], float), np.array(trials[1], bool)
    odds = np.exp(llrs) * p_target / (1 - p_target)
    expected = p_target * np.log(1 + 1 / odds)[labels].mean() + (1 - p_target) * np.log(1 + odds)[~labels].mean()
    assert cross_entropy(llrs, labels, p_target) == pytest.approx(expected, rel=1e-10)


@given(trial_lists(), st.floats(0.1, 5), st.floats(-5, 5))
def test_no_rising_map_costs_less(trials, slope, shift):
    scores, labels = np.array(trials[0]), trials[1]
    least = min_cllr(scores, labels)
    assert 0 <= least <= 1 + 1e-12
    for mapped in (slope * scores + shift, np.exp(scores / 4), scores**3):
        assert min_cllr(mapped, labels) == least
        assert cllr(mapped, labels) >= least - 1e-12
    calibration = fit(scores, labels)
    if calibration.scale >= 0:
        assert cllr(calibration.llr(scores), labels) >= least - 1e-12


@given(trial_lists(), st.randoms())
def test_the_order_of_the_list_does_not_matter(trials, random):
    order = list(range(len(trials[0])))
    random.shuffle(order)
    assert min_cllr([trials[0][i] for i in order], [trials[1][i] for i in order]) == min_cllr(*trials)


def test_well_calibrated_ratios_lose_little():
    rng = np.random.default_rng(0)
    labels = np.arange(100_000) % 2
    # Normal scores of unit variance at 0 and 2: the LLR is 2·score - 2.
    scores = rng.normal(size=100_000) + 2.0 * labels
    least = min_cllr(scores, labels)
    assert least < cllr(2 * scores - 2, labels) < least + 0.003
    assert cllr(6 * scores - 2, labels) > least + 0.2
    assert least_cllr(operating_points(scores, labels)) == least


def test_min_cllr_worked_out_by_hand():
    assert min_cllr([3, 4, 1, 2], [1, 1, 0, 0]) == 0  # separated
    assert min_cllr([1, 2, 3, 4], [1, 1, 0, 0]) == pytest.approx(1)  # perfectly wrong: one block
    assert min_cllr([7, 7, 7], [1, 0, 0]) == pytest.approx(1)  # all tied
    # Blocks 1 | 2 3 | 4: half of each kind is in the middle and costs 1 bit.
    assert min_cllr([1, 2, 3, 4], [0, 1, 0, 1]) == pytest.approx(0.5)
    # One score holds 1 of 1 targets and 1 of 3 non-targets: log2(1 + 1/3) and log2(1 + 3)/3, halved.
    assert min_cllr([5, 5, 1, 1], [1, 0, 0, 0]) == pytest.approx((math.log2(4 / 3) + 2 / 3) / 2)


def test_cllr_of_perfect_silent_and_misleading_ratios():
    labels = [1, 1, 0]
    assert cllr([60, 50, -50], labels) == pytest.approx(0.0, abs=1e-15)
    assert cllr([0, 0, 0], labels) == pytest.approx(1.0)
    assert cllr([-5, -5, 5], labels) > 7
    assert cllr([-1e5, 1e5, 0], labels) == pytest.approx((1e5 / 2 / np.log(2) + 1) / 2)
    by_hand = 0.5 * (np.log2(1 + np.exp(-1)) + np.log2(1 + np.exp(-2))) / 2 + 0.5 * np.log2(1 + np.exp(0.5))
    assert cllr([1, 2, 0.5], labels) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([], [], "empty"),
        ([0.1, np.inf], [0, 1], "1 of 2 scores are not finite"),
        ([0.1, 0.2], [1, 1], "all 2 trials are of same speakers"),
        ([0.1, 0.2], [0], "2 scores but 1 labels"),
        ([[0.1, 0.2]], [0, 1], "flat list"),
    ],
)
def test_unusable_lists_are_refused_in_words(scores, labels, message):
    for figure in (cllr, min_cllr):
        with pytest.raises(MetricError, match=message):
            figure(scores, labels)
