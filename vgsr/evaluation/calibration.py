"""Scores to log-likelihood ratios, and the Bayes threshold that follows from them.

In: scores and labels of held-out trials. Out: a `Calibration`, the affine map LLR = scale·score + offset
(natural logarithm) fitted by prior-weighted logistic regression: N. Brümmer and J. du Preez,
"Application-independent evaluation of speaker detection", Computer Speech & Language 20 (2006).
`cllr` measures how good such log-likelihood ratios are.
"""

from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from vgsr.evaluation.metrics import Flags, Floats, MetricError, check_costs, check_trials

# Added to the cross-entropy as RIDGE/2·slope², slope taken on scores of mean 0 and deviation 1 (our choice).
# Separable scores then have a finite optimum (a slope of some tens); overlapping ones move by parts
# in a million.
RIDGE = 1e-8
STEPS = 200


@dataclass(frozen=True)
class Calibration:
    """LLR = scale·score + offset, in nats. `dataclasses.asdict` makes it JSON, `Calibration(**d)` reads."""

    scale: float
    offset: float

    @overload
    def llr(self, score: float) -> float: ...
    @overload
    def llr(self, score: Floats) -> Floats: ...
    def llr(self, score: float | Floats) -> float | Floats:
        """Log-likelihood ratio (natural logarithm) of a score or of scores [T]."""
        return self.scale * score + self.offset


def fit(scores: npt.ArrayLike, labels: npt.ArrayLike, p_target: float = 0.5) -> Calibration:
    """The affine map that minimises prior-weighted cross-entropy on scores [T] with labels [T].

    Minimises p·mean_targets log(1 + e^-(llr + logit p)) + (1 - p)·mean_nontargets log(1 + e^(llr + logit p)),
    plus the tiny RIDGE; the share of targets in the list does not matter, `p_target` does.
    Scores that are all the same say nothing: scale and offset come out 0. Raises MetricError as
    `metrics.operating_points` does.
    """
    values, target = check_trials(scores, labels)
    check_costs(p_target, 1.0, 1.0)
    mean, deviation = float(values.mean()), float(values.std())
    # A constant list has a deviation of 0, or of rounding noise when the mean is not representable.
    constant = deviation <= 1e-12 * abs(mean)
    standard = np.zeros_like(values) if constant else (values - mean) / deviation
    slope, intercept = _newton(standard, target, p_target)
    if constant:
        return Calibration(0.0, intercept)
    return Calibration(slope / deviation, intercept - slope * mean / deviation)


def threshold(calibration: Calibration, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """Score at and above which accepting is the cheaper decision (Bayes threshold), in score units.

    That is where the LLR equals log(c_fa·(1 - p) / (c_miss·p)). Raises MetricError where the scale is not
    positive: then no score threshold exists above which trials are more likely of the same speaker.
    """
    check_costs(p_target, c_miss, c_fa)
    if not calibration.scale > 0:
        raise MetricError(
            f"the calibration's scale is {calibration.scale:.4g}: on its trials, higher scores were not more "
            "often of the same speaker. Check that labels are 1 for the same speaker, and fit on more trials"
        )
    return (_bayes_llr(p_target, c_miss, c_fa) - calibration.offset) / calibration.scale


def cllr(llrs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Cost of log-likelihood ratios [T], in bits (Brümmer & du Preez 2006): 0 perfect, 1 says nothing.

    Natural-logarithm LLRs in. It exceeds 1 where they mislead. Raises MetricError as `metrics` does.
    """
    values, target = check_trials(llrs, labels)
    return _cross_entropy(values, target, 0.5) / float(np.log(2))


def _bayes_llr(p_target: float, c_miss: float, c_fa: float) -> float:
    return float(np.log(c_fa) + np.log1p(-p_target) - np.log(c_miss) - np.log(p_target))


def _cross_entropy(llrs: Floats, target: Flags, p_target: float) -> float:
    log_odds = llrs - _bayes_llr(p_target, 1.0, 1.0)
    of_targets = np.logaddexp(0.0, -log_odds[target]).mean()
    of_nontargets = np.logaddexp(0.0, log_odds[~target]).mean()
    return float(p_target * of_targets + (1 - p_target) * of_nontargets)


def _newton(standard: Floats, target: Flags, p_target: float) -> tuple[float, float]:
    """Slope and intercept that minimise cross-entropy + ridge on standardised scores [T], by damped steps."""
    prior = _bayes_llr(p_target, 1.0, 1.0)
    weight = np.where(target, p_target / target.sum(), (1 - p_target) / (~target).sum())
    ridge = np.array([RIDGE, 0.0])

    def loss(at: Floats) -> float:
        return _cross_entropy(at[0] * standard + at[1], target, p_target) + 0.5 * RIDGE * float(at[0]) ** 2

    at = np.zeros(2)
    current = loss(at)
    for _ in range(STEPS):
        posterior = expit(at[0] * standard + at[1] - prior)
        residual = weight * (posterior - target)
        gradient = np.array([residual @ standard, residual.sum()]) + ridge * at
        curve = weight * posterior * (1 - posterior)
        cross = float(curve @ standard)
        hessian = np.array([[curve @ standard**2, cross], [cross, curve.sum()]]) + np.diag(ridge)
        # Saturated posteriors leave no curvature in some direction: least squares takes no step there.
        step = -np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        descent = float(gradient @ step)
        if -descent < 1e-14:
            return float(at[0] + step[0]), float(at[1] + step[1])
        size = 1.0
        while (ahead := loss(at + size * step)) > current + 1e-4 * size * descent + 1e-15 and size > 1e-9:
            size /= 2
        at, current = at + size * step, ahead
    raise MetricError(f"calibration did not converge in {STEPS} Newton steps: look for extreme scores in the list")
