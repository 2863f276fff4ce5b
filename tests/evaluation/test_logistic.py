"""Weighted logistic regression against scikit-learn's, and against an optimiser on the objective's definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from vgsr.evaluation.cllr import cllr
from vgsr.evaluation.logistic import RIDGE, fit
from vgsr.evaluation.metrics import MetricError


def trials(count=600, seed=0):
    """Features [T, 3] of very different scales, two of them correlated, and labels of unequal shares."""
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.25
    score = 0.1 * (rng.normal(size=count) + 1.5 * labels) + 0.3
    seconds = 500 + 200 * rng.normal(size=count) + 1000 * score
    noise = 1e-4 * (rng.normal(size=count) - 0.5 * labels)
    return np.stack([score, seconds, noise], axis=1), labels.astype(int)


def another(features, labels, p_target):
    """scikit-learn's weights and offset for the same objective: its C is the inverse of the ridge."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    share = np.where(labels == 1, p_target / labels.sum(), (1 - p_target) / (1 - labels).sum())
    model = LogisticRegression(C=1 / RIDGE, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    model.fit((features - mean) / deviation, labels, sample_weight=share)
    weights = model.coef_[0] / deviation
    return weights, model.intercept_[0] - weights @ mean - logit(p_target)


@pytest.mark.parametrize("p_target", [0.01, 0.5, 0.9])
@pytest.mark.parametrize("columns", [[0], [0, 1], [0, 1, 2]])
def test_the_weights_are_those_of_another_regression(columns, p_target):
    features, labels = trials()
    features = features[:, columns]
    weights, offset = another(features, labels, p_target)
    found = fit(features, labels, p_target)
    np.testing.assert_allclose(found.weights, weights, rtol=1e-5)
    assert found.offset == pytest.approx(offset, rel=1e-5)
    np.testing.assert_allclose(found.llr(features), features @ weights + offset, atol=1e-5)


@pytest.mark.parametrize("p_target", [0.05, 0.5])
def test_the_weights_minimise_the_cross_entropy_of_posteriors(p_target):
    features, labels = trials(300, seed=1)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    standard = (features - mean) / deviation

    def loss(at):
        odds = np.exp(standard @ at[:-1] + at[-1]) * p_target / (1 - p_target)
        posterior = odds / (1 + odds)
        return (
            -p_target * np.log(posterior[labels == 1]).mean()
            - (1 - p_target) * np.log(1 - posterior[labels == 0]).mean()
        )

    exact = {"xatol": 1e-9, "fatol": 1e-15, "maxiter": 20_000, "maxfev": 20_000}
    best = minimize(loss, np.zeros(4), method="Nelder-Mead", options=exact)
    found = fit(features, labels, p_target)
    at = np.append(found.weights * deviation, found.offset + found.weights @ mean)
    np.testing.assert_allclose(at, best.x, rtol=1e-5, atol=1e-6)
    for step in np.vstack([np.eye(4), -np.eye(4)]):
        assert loss(at + 1e-3 * step) > loss(at)


def test_scaled_and_reordered_columns_change_no_ratio():
    features, labels = trials()
    expected = fit(features, labels).llr(features)
    changed = (features * [1000, -0.01, 1e6] + [5, -3, 100])[:, [2, 0, 1]]
    np.testing.assert_allclose(fit(changed, labels).llr(changed), expected, atol=1e-6)


def test_the_share_of_targets_does_not_matter():
    features, labels = trials()
    more = np.flatnonzero(labels == 0).repeat(7)
    found = fit(features, labels)
    other = fit(np.vstack([features, features[more]]), np.append(labels, labels[more]))
    np.testing.assert_allclose(other.llr(features), found.llr(features), atol=1e-5)


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3e9])
def test_a_constant_column_has_no_weight(constant):
    features, labels = trials(5000)
    found = fit(np.insert(features, 1, constant, axis=1), labels)
    assert found.weights[1] == 0
    expected = fit(features, labels)
    np.testing.assert_allclose(found.weights[[0, 2, 3]], expected.weights, rtol=1e-8)
    assert found.offset == pytest.approx(expected.offset)


def test_columns_that_are_all_constant_say_nothing():
    found = fit(np.full((7, 2), 0.1), [1, 1, 0, 0, 0, 0, 0], p_target=0.2)
    assert found.weights.tolist() == [0, 0]
    np.testing.assert_allclose(found.llr(np.full((3, 2), 0.1)), 0, atol=1e-12)


def test_a_repeated_column_shares_its_weight():
    features, labels = trials()
    single, double = fit(features, labels), fit(features[:, [0, 0, 1, 2]], labels)
    np.testing.assert_allclose(double.weights[:2], single.weights[0] / 2, rtol=1e-4)
    np.testing.assert_allclose(double.llr(features[:, [0, 0, 1, 2]]), single.llr(features), atol=1e-4)


def test_separable_trials_stay_finite():
    rng = np.random.default_rng(2)
    labels = np.arange(200) % 2
    features = rng.normal(size=(200, 3))
    features[:, 1] = 1e4 * (features[:, 1] + 9 * labels)
    found = fit(features, labels)
    ratios = found.llr(features)
    assert np.isfinite(ratios).all()
    assert (np.sign(ratios) == 2 * labels - 1).all()
    assert np.abs(ratios).max() < 1e3
    assert cllr(ratios, labels) < 1e-4


small = st.integers(-2, 2)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(small, small, st.floats(-1e3, 1e3), st.booleans()), min_size=2, max_size=25),
    st.sampled_from([0.001, 0.05, 0.5, 0.99]),
)
def test_every_table_converges_to_a_flat_place_that_is_not_worse_than_silence(rows, p_target):
    rows = [*rows, (0, 1, 0.0, True), (1, 0, 1.0, False)]
    features, labels = np.array([row[:3] for row in rows], float), np.array([row[3] for row in rows])
    found = fit(features, labels, p_target)
    assert np.isfinite([*found.weights, found.offset]).all()
    if p_target == 0.5:
        assert cllr(found.llr(features), labels) <= 1 + 1e-9
    # With an offset that is not penalised, posteriors weigh as many targets as there are (up to rounding).
    posterior = expit(found.llr(features) + logit(p_target))
    share = np.where(labels, p_target / labels.sum(), (1 - p_target) / (~labels).sum())
    assert share @ posterior == pytest.approx(p_target, abs=1e-6)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        ([0.1, 0.2], [0, 1], r"features \(2,\): they must be a table"),
        (np.empty((2, 0)), [0, 1], "one column a feature"),
        ([[0.1], [0.2]], [0], "2 scores but 1 labels"),
        ([[0.1], [0.2]], [1, 1], "different-speaker trials"),
        ([[0.1], [0.2]], [1, 2], "neither 1"),
        (np.empty((0, 2)), [], "empty"),
        ([[0.1, 1], [0.2, np.nan]], [0, 1], "1 features are not finite; the first is nan at trial 1, feature 1"),
        ([[0.1, 1e200], [0.2, -1e200]], [0, 1], "feature 1 .* too large"),
    ],
)
def test_unusable_tables_are_refused_in_words(features, labels, message):
    with pytest.raises(MetricError, match=message):
        fit(features, labels)


def test_an_unusable_prior_is_refused_in_words():
    with pytest.raises(MetricError, match="p_target"):
        fit([[0.0], [1.0]], [0, 1], p_target=0)
