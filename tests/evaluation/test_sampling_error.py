"""The standard error against its formula by hand, and its t interval on figures with known noise of both kinds."""

import numpy as np
import pytest
from scipy import stats

from vgsr.evaluation.resampling import Replicates
from vgsr.evaluation.sampling_error import LEAST_P, StandardError, standard_error


def exact(covariance, lists=40):
    """Replicates [systems, lists] whose covariance is exactly that, no part of it within pairs, or of one speaker."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(covariance), lists))
    noise -= noise.mean(axis=1, keepdims=True)
    white = np.linalg.solve(np.linalg.cholesky(np.cov(noise)), noise)
    nobody = np.ones((lists, 100), dtype=np.int32)
    return Replicates(np.linalg.cholesky(np.array(covariance)) @ white, np.zeros((len(covariance), lists)), nobody, 0)


def test_one_seed_has_the_error_over_speakers_alone():
    found = standard_error(np.array([1.0, 1.2]), exact([[4.0, 1.0], [1.0, 2.0]]), [np.array([[1.0, -1.0]])], 30)
    assert found.parts == ((pytest.approx(30 / 29 * (4 + 2 - 2 * 1)), 29),)


def test_paired_seeds_by_hand():
    # Differences of the pairs: 0.1, 0.5, 0.9. A list moves all pairs alike by 0.02, each on its own by 0.03.
    observed = np.array([1.1, 1.5, 1.9, 1.0, 1.0, 1.0])
    alike = np.kron([[1, 0], [0, 0]], np.ones((3, 3))) * 0.02 + np.kron([[1, 0], [0, 0]], np.eye(3)) * 0.03
    sampled = exact(alike + 1e-12 * np.eye(6))
    found = standard_error(observed, sampled, [np.hstack([np.eye(3), -np.eye(3)])], 40)
    over_speakers, seeds = 40 / 39 * (0.02 + 0.03 / 3), (0.16 - 40 / 39 * 0.03) / 3
    assert found.parts == ((pytest.approx(over_speakers), 39), (pytest.approx(seeds), 2))


def test_seeds_that_differ_by_less_than_the_list_explains_add_nothing():
    sampled = exact(0.5 * np.eye(3))
    found = standard_error(np.array([1.0, 1.1, 0.9]), sampled, [np.eye(3)], 20)
    over_speakers = 20 / 19 * 0.5 / 3
    assert found.parts == ((pytest.approx(over_speakers), 19), (0.0, 2))
    assert found.margin(0.95) == pytest.approx(np.sqrt(over_speakers) * stats.t.ppf(0.975, 19))


def test_a_side_with_one_seed_has_the_noise_of_the_other():
    observed = np.array([0.8, 1.0, 1.2, 1.0])
    found = standard_error(observed, exact(0.01 * np.eye(4)), [np.eye(3, 4), -np.eye(4)[3:]], 40)
    assert found.parts[1] == (pytest.approx((0.04 - 40 / 39 * 0.01) / 3 + 0.04), 2)


def test_unpaired_sides_add_up():
    observed = np.array([0.8, 1.0, 1.2, 0.9, 1.1])
    found = standard_error(observed, exact(1e-12 * np.eye(5)), [np.eye(3, 5), -np.eye(5)[3:]], 40)
    assert found.parts[1:] == ((pytest.approx(0.04 / 3), 2), (pytest.approx(0.02 / 2), 1))


def test_no_variance_at_all_is_no_error():
    found = standard_error(
        np.ones(2), Replicates(np.ones((2, 9)), np.ones((2, 9)), np.ones((9, 9)), 0), [np.array([[1.0, -1.0]])], 9
    )
    assert (found.value, found.margin(0.95), found.p_value(0.0)) == (0, 0, 1)


def test_one_part_is_a_t_interval():
    error = StandardError(((0.09, 7),))
    assert error.margin(0.95) == pytest.approx(0.3 * stats.t.ppf(0.975, 7))
    assert error.p_value(-0.4) == pytest.approx(2 * stats.t.sf(0.4 / 0.3, 7))


def test_speakers_who_make_most_of_the_variance_are_few_degrees_of_freedom():
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(30, np.full(30, 1 / 30), size=5000)
    figures = np.stack([drawn[:, 0] + drawn[:, 1], np.ones(5000)]) / 30
    sampled = Replicates(figures, 0 * figures, drawn, 0)
    ((variance, freedom),) = standard_error(np.ones(2), sampled, [np.array([[1.0, -1.0]])], 30).parts
    assert variance == pytest.approx(30 / 29 * np.var(figures[0], ddof=1))
    assert freedom == pytest.approx(4.97, rel=0.05)  # two speakers' squares 28² / 30², 28 speakers' 2² / 30²


def test_two_parts_weigh_their_quantiles():
    error = StandardError(((0.09, 60), (0.16, 2)))
    quantile = (0.09 * stats.t.ppf(0.975, 60) + 0.16 * stats.t.ppf(0.975, 2)) / 0.25
    assert error.margin(0.95) == pytest.approx(0.5 * quantile)
    assert error.p_value(error.margin(0.95)) == pytest.approx(0.05)
    assert error.p_value(error.margin(0.7)) == pytest.approx(0.3)
    assert error.p_value(-100.0) < error.p_value(2.0) < error.p_value(1.0) < 1
    assert StandardError(((0.09, 60),)).p_value(100.0) == LEAST_P


@pytest.mark.parametrize("training", [0, 0.3, 1, 3])
def test_an_interval_holds_the_truth_as_often_as_it_says(training):
    """95 % of 2,000 lists with 3 paired seeds, less or more by 4 binomial deviations of 0.5 points.

    Where both parts matter the weighted quantile is cautious by up to two points more.
    """
    rng = np.random.default_rng(1)
    contrast = np.hstack([np.eye(3), -np.eye(3)])
    of_a_list = exact(np.kron(np.eye(2), np.ones((3, 3)) / 2 + np.eye(3) / 8))  # noise in common, and each its own
    held = 0
    for _ in range(2000):
        a, b = (rng.normal() + 0.5 * rng.normal(size=3) + training * rng.normal(size=3) for _ in range(2))
        observed = np.append(a, b) / np.sqrt(2)
        error = standard_error(observed, of_a_list, [contrast], 60)
        held += abs(contrast.mean(axis=0) @ observed) <= error.margin(0.95)
    assert 0.93 <= held / 2000 <= 0.99
