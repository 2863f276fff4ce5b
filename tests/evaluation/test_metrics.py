"""Error rates and costs against threshold sweeps written trial by trial, in exact fractions."""

from fractions import Fraction
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from vgsr.evaluation.metrics import MetricError, act_dcf, bayes_llr, det, eer, min_dcf, operating_points


@st.composite
def trial_lists(draw, low=-4, high=4):
    """Integer scores from a narrow range, so that most of them are tied; at least one trial of each kind."""
    targets = draw(st.lists(st.integers(low, high), min_size=1, max_size=12))
    nontargets = draw(st.lists(st.integers(low, high), min_size=1, max_size=12))
    pairs = draw(st.permutations([(score, 1) for score in targets] + [(score, 0) for score in nontargets]))
    return [score for score, _ in pairs], [label for _, label in pairs]


def sweep(scores, labels):
    """(threshold, miss, false alarm) as fractions: every distinct score as threshold, then one above all."""
    targets, nontargets = labels.count(1), labels.count(0)
    found = []
    for threshold in [*sorted(set(scores)), max(scores) + 1]:
        missed = accepted = 0
        for score, label in zip(scores, labels, strict=True):
            missed += label == 1 and score < threshold
            accepted += label == 0 and score >= threshold
        found.append((threshold, Fraction(missed, targets), Fraction(accepted, nontargets)))
    return found


def crossing(scores, labels):
    """Meeting point of the broken line through the swept points with the diagonal miss = false alarm."""
    points = sweep(scores, labels)
    for (_, miss, alarm), (_, next_miss, next_alarm) in pairwise(points):
        before, after = miss - alarm, next_miss - next_alarm
        if before <= 0 <= after:
            return miss + (next_miss - miss) * before / (before - after)
    raise AssertionError("the curves always cross")


@given(trial_lists())
def test_points_are_those_of_a_sweep(trials):
    scores, labels = trials
    points = operating_points(scores, labels)
    expected = sweep(scores, labels)
    assert points.thresholds.tolist() == [*(float(threshold) for threshold, _, _ in expected[:-1]), np.inf]
    assert points.miss.tolist() == [float(miss) for _, miss, _ in expected]
    assert points.false_alarm.tolist() == [float(alarm) for _, _, alarm in expected]
    assert (points.targets, points.nontargets) == (labels.count(1), labels.count(0))


@given(trial_lists())
def test_points_are_those_of_another_roc(trials):
    scores, labels = trials
    points = operating_points(scores, labels)
    alarm, hit, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    assert points.thresholds.tolist() == thresholds[::-1].tolist()
    np.testing.assert_allclose(points.miss, 1 - hit[::-1], atol=1e-15)
    np.testing.assert_allclose(points.false_alarm, alarm[::-1], atol=1e-15)


@given(trial_lists())
def test_eer_is_the_crossing_of_a_sweep(trials):
    found = eer(*trials)
    assert found.value == pytest.approx(float(crossing(*trials)), abs=1e-15)
    assert min(trials[0]) <= found.threshold <= max(trials[0])


@given(trial_lists(), st.floats(0.001, 0.999), st.floats(0.01, 100), st.floats(0.01, 100))
def test_min_dcf_is_the_least_cost_of_a_sweep(trials, p_target, c_miss, c_fa):
    found = min_dcf(*trials, p_target, c_miss, c_fa)
    of_miss, of_fa = c_miss * p_target, c_fa * (1 - p_target)
    costs = {t: of_miss * float(miss) + of_fa * float(alarm) for t, miss, alarm in sweep(*trials)}
    norm = min(of_miss, of_fa)
    assert found.value == pytest.approx(min(costs.values()) / norm, rel=1e-12)
    assert found.value <= 1 + 1e-12
    at = found.threshold if np.isfinite(found.threshold) else max(trials[0]) + 1
    assert costs[at] / norm == pytest.approx(found.value, rel=1e-12), "the threshold has another cost"


@given(trial_lists(), st.one_of(st.just(0.5), st.floats(0.001, 0.999)), st.sampled_from([1, 10]), st.floats(0.01, 100))
def test_act_dcf_is_the_cost_of_the_bayes_decisions(trials, p_target, c_miss, c_fa):
    llrs, labels = trials
    missed = accepted = 0
    for llr, label in zip(llrs, labels, strict=True):
        accept = llr >= np.log(c_fa * (1 - p_target) / (c_miss * p_target))
        missed += label == 1 and not accept
        accepted += label == 0 and accept
    cost = c_miss * p_target * missed / labels.count(1) + c_fa * (1 - p_target) * accepted / labels.count(0)
    found = act_dcf(llrs, labels, p_target, c_miss, c_fa)
    assert found == pytest.approx(cost / min(c_miss * p_target, c_fa * (1 - p_target)), rel=1e-12)
    assert found >= min_dcf(llrs, labels, p_target, c_miss, c_fa).value


def test_a_ratio_at_the_bayes_threshold_is_accepted():
    # Prior 1/2 and equal costs: the threshold is exactly 0.
    assert bayes_llr(0.5, 1, 1) == 0
    assert act_dcf([0.0, -1.0], [1, 0], 0.5) == 0
    assert act_dcf([0.0, -1.0], [0, 1], 0.5) == 2
    # Below every ratio all are accepted, above every ratio none.
    assert act_dcf([0.0, -1.0], [0, 1], 0.01) == 1
    assert act_dcf([9.0, 8.0], [0, 1], 0.01) == pytest.approx(99)


@given(trial_lists())
def test_det_is_the_sweep_without_the_points_inside_its_runs(trials):
    points = [(miss, alarm) for _, miss, alarm in sweep(*trials)]
    corners = [points[0]]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        if not any(before[error] == here[error] == after[error] for error in (0, 1)):
            corners.append(here)
    corners.append(points[-1])
    curve = det(*trials)
    for error, drawn in ((0, curve.miss), (1, curve.false_alarm)):
        half = 0.5 / trials[1].count(1 - error)
        probits = [NormalDist().inv_cdf(min(max(float(corner[error]), half), 1 - half)) for corner in corners]
        np.testing.assert_allclose(drawn, probits, atol=1e-12)


def test_det_of_gaussian_scores_is_a_short_straight_line():
    rng = np.random.default_rng(0)
    labels = np.arange(200_000) % 2
    curve = det(rng.normal(size=200_000) + 4.0 * labels, labels)
    assert len(curve.miss) < 10_000
    middle = (np.abs(curve.miss) < 2.5) & (np.abs(curve.false_alarm) < 2.5)
    # Unit-variance normal scores, 4 deviations apart: probit(miss) + probit(false alarm) = -4.
    np.testing.assert_allclose((curve.miss + curve.false_alarm)[middle], -4, atol=0.15)


@given(trial_lists(), st.floats(0.01, 50), st.floats(-100, 100))
def test_figures_depend_on_ranks_only(trials, slope, shift):
    scores, labels = trials
    points = operating_points(scores, labels)
    for mapped in (slope * np.array(scores) + shift, np.exp(scores), np.array(scores) ** 3):
        other = operating_points(mapped, labels)
        assert other.eer().value == points.eer().value
        assert other.min_dcf(0.05).value == points.min_dcf(0.05).value


@given(trial_lists())
def test_negating_scores_and_labels_swaps_the_errors(trials):
    scores, labels = np.array(trials[0]), np.array(trials[1])
    points, mirrored = operating_points(scores, labels), operating_points(-scores, 1 - labels)
    assert mirrored.miss.tolist() == points.false_alarm[::-1].tolist()
    assert mirrored.eer().value == pytest.approx(points.eer().value, abs=1e-15)
    assert mirrored.min_dcf(0.9).value == pytest.approx(points.min_dcf(0.1).value, rel=1e-12)


@given(trial_lists(), st.randoms())
def test_the_order_of_the_list_does_not_matter(trials, random):
    scores, labels = trials
    order = list(range(len(scores)))
    random.shuffle(order)
    mixed, points = operating_points([scores[i] for i in order], [labels[i] for i in order]), operating_points(*trials)
    assert mixed.eer() == points.eer()
    assert mixed.min_dcf(0.01) == points.min_dcf(0.01)
    assert mixed.act_dcf(0.3) == points.act_dcf(0.3)


@pytest.mark.parametrize(
    ("scores", "labels", "value", "threshold"),
    [
        ([3, 4, 1, 2], [1, 1, 0, 0], 0.0, 3),  # separated
        ([1, 2, 3, 4], [1, 1, 0, 0], 1.0, 3),  # perfectly wrong
        ([7, 7, 7], [1, 0, 0], 0.5, 7),  # all tied: half way from accepting all to rejecting all
        ([1, 2, 3, 2, 3, 4], [0, 0, 0, 1, 1, 1], 1 / 3, 3),  # (0, 2/3) at 2 and (1/3, 1/3) at 3
        ([1, 2, 3, 4], [0, 1, 0, 1], 0.5, 3),
        ([1, 2, 3, 4, 5], [0, 1, 0, 1, 1], 1 / 3, 10 / 3),  # (1/3, 1/2) at 3, (1/3, 0) at 4: a third of the way
    ],
)
def test_eer_of_lists_worked_out_by_hand(scores, labels, value, threshold):
    found = eer(scores, labels)
    assert found.value == pytest.approx(value, abs=1e-15)
    assert found.threshold == pytest.approx(threshold)


def test_min_dcf_worked_out_by_hand():
    # Points (miss, false alarm): (0, 1) (0, 1/2) (1/2, 1/2) (1/2, 0) (1, 0) at 1, 2, 3, 4, inf.
    scores, labels = [1, 2, 3, 4], [0, 1, 0, 1]
    assert min_dcf(scores, labels, 0.5).value == pytest.approx(0.5)
    rare = min_dcf(scores, labels, 0.01)
    assert (rare.value, rare.threshold) == (pytest.approx(0.5), 4)
    dear = min_dcf(scores, labels, 0.5, c_miss=10)
    assert (dear.value, dear.threshold) == (pytest.approx(0.5), 2)
    useless = min_dcf([4, 1], [0, 1], 0.01)
    assert (useless.value, useless.threshold) == (1.0, np.inf)


def test_other_conventions_differ_as_documented():
    rng = np.random.default_rng(3)
    labels = rng.random(4000) < 0.4
    scores = rng.normal(size=4000) + 2.0 * labels
    # Trial by trial and without ties, as in the SRE16 script: the interpolated rate is ours.
    marks = labels[np.argsort(scores)]
    miss, alarm = np.cumsum(marks) / marks.sum(), 1 - np.cumsum(~marks) / (~marks).sum()
    after = np.flatnonzero(miss - alarm >= 0)[0]
    gap, rise = miss[after] - alarm[after], miss[after] - miss[after - 1]
    share = gap / (gap - (miss[after - 1] - alarm[after - 1]))
    assert eer(scores, labels).value == pytest.approx(miss[after] - share * rise)
    # Costs that are not normalised are p_target times smaller where targets are rare.
    raw = min(0.01 * m + 0.99 * a for m, a in zip(miss, alarm, strict=True))
    assert min_dcf(scores, labels, 0.01).value == pytest.approx(raw / 0.01)


def test_gaussian_scores_reach_the_analytic_rate():
    rng = np.random.default_rng(0)
    labels = np.arange(200_000) % 2
    scores = rng.normal(size=200_000) + 2.0 * labels
    assert eer(scores, labels).value == pytest.approx(0.158655, abs=0.002)  # Phi(-1)
    assert eer(scores, labels).threshold == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([], [], "empty"),
        ([1.0, 2.0], [1], "2 scores but 1 labels"),
        ([0.1, np.nan, np.inf, 0.2], [0, 1, 0, 1], "2 of 4 scores are not finite; the first is nan at trial 1"),
        ([0.1, None], [0, 1], "1 of 2 scores are not finite"),
        ([0.1, 0.2], [1, 1], "all 2 trials are of same speakers.*different-speaker"),
        ([0.1, 0.2], [0, 0], "all 2 trials are of different speakers.*same-speaker"),
        ([0.1, 0.2], [1, -1], "1 labels are neither 1.*trial 1"),
        ([0.1, 0.2], ["1", "0"], "2 labels are neither 1"),
        ([[0.1, 0.2]], [[0, 1]], "flat list"),
        ([0.1, 0.2], [[0, 1]], "labels .* flat list"),
    ],
)
def test_unusable_lists_are_refused_in_words(scores, labels, message):
    for figure in (operating_points, eer, det, lambda s, y: min_dcf(s, y, 0.01), lambda s, y: act_dcf(s, y, 0.01)):
        with pytest.raises(MetricError, match=message):
            figure(scores, labels)


@pytest.mark.parametrize(
    ("costs", "message"),
    [((0.0,), "p_target"), ((1.0,), "p_target"), ((float("nan"),), "p_target"), ((0.1, 0.0), "c_miss"),
     ((0.1, 1.0, np.inf), "c_fa")],
)  # fmt: skip
def test_unusable_costs_are_refused_in_words(costs, message):
    for figure in (min_dcf, act_dcf):
        with pytest.raises(MetricError, match=message):
            figure([1, 2], [0, 1], *costs)
