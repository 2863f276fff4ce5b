"""Calibration against an independent optimiser, and against scores whose likelihood ratio is known."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from vgsr.evaluation.calibration import Calibration, fit, threshold
from vgsr.evaluation.cllr import cllr
from vgsr.evaluation.metrics import MetricError


def gaussians(targets, nontargets, distance=2.0, seed=0):
    """Unit-variance scores around +-distance/2: the LLR of a score s is distance * s."""
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(distance / 2, 1, targets), rng.normal(-distance / 2, 1, nontargets)])
    return scores, np.repeat([1, 0], [targets, nontargets])


def objective(scores, labels, p_target):
    """Prior-weighted cross-entropy of (scale, offset), from its definition by posterior probabilities."""

    def loss(parameters):
        odds = np.exp(parameters[0] * scores + parameters[1]) * p_target / (1 - p_target)
        posterior = odds / (1 + odds)
        return (
            -p_target * np.log(posterior[labels == 1]).mean()
            - (1 - p_target) * np.log(1 - posterior[labels == 0]).mean()
        )

    return loss


@pytest.mark.parametrize("p_target", [0.01, 0.5, 0.9])
def test_the_fit_is_an_independent_optimisers(p_target):
    scores, labels = gaussians(150, 900, distance=1.5)
    scores = 0.1 * scores + 0.3
    loss = objective(scores, labels, p_target)
    best = minimize(
        loss, x0=[10.0, -3.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14, "maxiter": 4000}
    )
    found = fit(scores, labels, p_target)
    assert (found.scale, found.offset) == (
        pytest.approx(best.x[0], rel=1e-5),
        pytest.approx(best.x[1], rel=1e-5),
    )
    for step in ([1e-3, 0], [-1e-3, 0], [0, 1e-3], [0, -1e-3]):
        assert loss(np.add([found.scale, found.offset], step)) > loss([found.scale, found.offset])


def test_gaussian_scores_recover_their_likelihood_ratio():
    scores, labels = gaussians(100_000, 100_000)
    found = fit(scores, labels)
    assert found.scale == pytest.approx(2.0, abs=0.03)
    assert found.offset == pytest.approx(0.0, abs=0.03)
    np.testing.assert_allclose(found.llr(np.array([-1.0, 0.0, 2.0])), [-2, 0, 4], atol=0.08)
    assert found.llr(0.5) == pytest.approx(1.0, abs=0.05)


@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_an_affine_change_of_scores_changes_no_ratio(slope, shift):
    scores, labels = gaussians(40, 60)
    expected = fit(scores, labels).llr(scores)
    np.testing.assert_allclose(fit(slope * scores + shift, labels).llr(slope * scores + shift), expected, atol=1e-5)


def test_the_share_of_targets_does_not_matter():
    scores, labels = gaussians(300, 500)
    more = np.flatnonzero(labels == 0).repeat(9)
    found, other = fit(scores, labels), fit(np.append(scores, scores[more]), np.append(labels, labels[more]))
    assert (other.scale, other.offset) == (pytest.approx(found.scale), pytest.approx(found.offset))


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ([0.9, 0.1], [1, 0]),
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0]),
        ([1e6, 1e6 + 1, -1e6, 0], [1, 1, 0, 0]),
        ([5.0, 1.0, 1.0, 0.0], [1, 1, 0, 0]),  # separable but for a tie
    ],
)
def test_separable_scores_stay_finite(scores, labels):
    found = fit(scores, labels)
    assert np.isfinite([found.scale, found.offset]).all()
    assert found.scale > 0
    ratios = found.llr(np.array(scores))
    assert np.abs(ratios).max() < 1e3
    assert cllr(ratios, labels) < 1


@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.booleans()), min_size=2, max_size=30),
    st.sampled_from([0.001, 0.05, 0.5, 0.99]),
)
def test_every_list_converges_and_is_not_worse_than_silence(trials, p_target):
    scores, labels = [s for s, _ in trials] + [0.0, 1.0], [y for _, y in trials] + [False, True]
    found = fit(scores, labels, p_target)
    assert np.isfinite([found.scale, found.offset]).all()
    if p_target == 0.5:
        assert cllr(found.llr(np.array(scores)), labels) <= 1 + 1e-9


def test_scores_that_are_all_the_same_say_nothing():
    found = fit([0.1] * 7, [1, 1, 0, 0, 0, 0, 0], p_target=0.2)
    assert found.llr(0.1) == pytest.approx(0.0, abs=1e-12)


def test_the_bayes_threshold_costs_least():
    scores, labels = gaussians(50_000, 50_000)
    calibration = fit(scores, labels)
    for p_target, c_miss, c_fa in ((0.5, 1, 1), (0.05, 1, 1), (0.3, 10, 1)):
        at = threshold(calibration, p_target, c_miss, c_fa)
        analytic = np.log(c_fa * (1 - p_target) / (c_miss * p_target)) / 2.0
        assert at == pytest.approx(analytic, abs=0.05)


def test_calibrations_travel_as_json():
    calibration = Calibration(scale=12.5, offset=-3.25)
    assert Calibration(**json.loads(json.dumps(asdict(calibration)))) == calibration
    assert isinstance(json.dumps(asdict(fit([0.0, 1.0, 0.5, 0.6], [0, 1, 1, 0]))), str)


def test_unusable_input_is_refused_in_words():
    with pytest.raises(MetricError, match="not finite"):
        fit([np.nan, 1.0], [0, 1])
    with pytest.raises(MetricError, match="p_target"):
        fit([0.0, 1.0], [0, 1], p_target=1.5)
    with pytest.raises(MetricError, match="scale is -"):
        threshold(fit([0.0, 1.0, 2.0], [1, 0, 0]), 0.5)
    with pytest.raises(MetricError, match="c_fa"):
        threshold(Calibration(1.0, 0.0), 0.5, c_fa=-1)
