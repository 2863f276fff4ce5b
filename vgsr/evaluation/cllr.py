"""What log-likelihood ratios tell, in bits: Cllr, and the least of it that a monotone map could reach.

In: log-likelihood ratios (or, for `min_cllr`, scores of any scale) and labels of trials. Out: their cost:
N. Brümmer and J. du Preez, "Application-independent evaluation of speaker detection", Computer Speech &
Language 20 (2006). 0 is perfect, 1 says nothing; cllr - min_cllr is what bad calibration costs.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from vgsr.evaluation.metrics import Flags, Floats, Points, bayes_llr, check_trials, operating_points


def cllr(llrs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Cost of log-likelihood ratios [T], in bits (Brümmer & du Preez 2006): 0 perfect, 1 says nothing.

    Natural-logarithm LLRs in. It exceeds 1 where they mislead. Raises MetricError as `metrics` does.
    """
    values, target = check_trials(llrs, labels)
    return cross_entropy(values, target, 0.5) / float(np.log(2))


def min_cllr(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """`least_cllr` of scores [T] with labels [T]; raises MetricError as `metrics.operating_points` does."""
    return least_cllr(operating_points(scores, labels))


def least_cllr(points: Points) -> float:
    """Least Cllr, in bits, that any rising map of the scores to LLRs reaches (Brümmer & du Preez 2006, PAV).

    Pool adjacent violators joins neighbouring scores into blocks, the share of targets rising from block to
    block; a block's best LLR is the log of its targets to non-targets, each over its total. Trials of one score
    are never parted. Blocks of one kind of trial only have an infinite LLR of the right sign and cost nothing.
    """
    # The counts, recovered exactly from the rates: how many of each kind lie below a threshold.
    missed = np.rint(points.miss * points.targets)
    rejected = missed + np.rint((1 - points.false_alarm) * points.nontargets)
    trials = np.diff(rejected)
    edges = isotonic_regression(np.diff(missed) / trials, weights=trials).blocks
    targets, both = np.diff(missed[edges]), np.diff(rejected[edges])
    nontargets = both - targets
    mixed = (targets > 0) & (nontargets > 0)
    targets, nontargets = targets[mixed] / points.targets, nontargets[mixed] / points.nontargets
    cost = targets @ np.log1p(nontargets / targets) + nontargets @ np.log1p(targets / nontargets)
    return float(cost) / float(2 * np.log(2))


def cross_entropy(llrs: Floats, target: Flags, p_target: float) -> float:
    """Prior-weighted cross-entropy of LLRs [T], in nats, each kind of trial averaged for itself."""
    log_odds = llrs - bayes_llr(p_target, 1.0, 1.0)
    of_targets = np.logaddexp(0.0, -log_odds[target]).mean()
    of_nontargets = np.logaddexp(0.0, log_odds[~target]).mean()
    return float(p_target * of_targets + (1 - p_target) * of_nontargets)
