"""Prior-weighted logistic regression: features of trials to log-likelihood ratios.

In: features of held-out trials (a score, or a score beside measures of quality) and their labels.
Out: `Weights`, the affine map LLR = features·weights + offset (natural logarithm): N. Brümmer and J. du Preez,
"Application-independent evaluation of speaker detection", Computer Speech & Language 20 (2006).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from vgsr.evaluation.cllr import cross_entropy
from vgsr.evaluation.metrics import Flags, Floats, MetricError, bayes_llr, check_costs, check_labels

# Added to the cross-entropy as RIDGE/2·|slopes|², slopes taken on columns of mean 0 and deviation 1 (our choice).
# Separable trials then have a finite optimum (a slope of some tens); overlapping ones move by parts
# in a million.
RIDGE = 1e-8
STEPS = 200


@dataclass(frozen=True, eq=False)
class Weights:
    """LLR = features [T, F] · weights [F] + offset, in nats."""

    weights: Floats
    offset: float

    def llr(self, features: npt.ArrayLike) -> Floats:
        """Log-likelihood ratios [T] (natural logarithm) of features [T, F]."""
        return np.asarray(features, dtype=np.float64) @ self.weights + self.offset


def fit(features: npt.ArrayLike, labels: npt.ArrayLike, p_target: float = 0.5) -> Weights:
    """The affine map that minimises prior-weighted cross-entropy on features [T, F] with labels [T].

    Minimises p·mean_targets log(1 + e^-(llr + logit p)) + (1 - p)·mean_nontargets log(1 + e^(llr + logit p)),
    plus the tiny RIDGE; the share of targets in the list does not matter, `p_target` does.
    A column that is all the same says nothing: its weight is 0. Columns that say the same share their weight.
    Raises MetricError on features that are not a finite table of as many rows as labels, and on labels and
    priors as `metrics.operating_points` and `Points.min_dcf` do.
    """
    values, target = _check_features(features, labels)
    check_costs(p_target, 1.0, 1.0)
    # Columns lie in a row each: their sums are then taken pairwise, and a constant column has a deviation of 0, or
    # of rounding noise when its mean is not representable.
    columns = np.ascontiguousarray(values.T)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = columns.mean(axis=1), columns.std(axis=1)
    if not np.isfinite(deviation).all():
        column = int(np.flatnonzero(~np.isfinite(deviation))[0])
        raise MetricError(f"feature {column} (counted from 0) is too large for its deviation to be computed: scale it")
    varied = deviation > 1e-12 * np.abs(mean)
    design = np.ones((int(varied.sum()) + 1, columns.shape[1]))
    design[:-1] = (columns[varied] - mean[varied, None]) / deviation[varied, None]
    slopes, intercept = _newton(design, target, p_target)
    weights = np.zeros(len(columns))
    weights[varied] = slopes / deviation[varied]
    return Weights(weights, float(intercept - weights @ mean))


def _check_features(features: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Flags]:
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        raise MetricError(f"features {values.shape}: they must be a table, one row a trial and one column a feature")
    target = check_labels(labels, len(values))
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise MetricError(
            f"{len(bad):,} features are not finite; the first is {values[row, column]} at trial {row}, "
            f"feature {column} (both counted from 0)"
        )
    return values, target


def _newton(design: Floats, target: Flags, p_target: float) -> tuple[Floats, float]:
    """Slopes [F] and intercept that minimise cross-entropy + ridge, by damped steps.

    design: [F + 1, T], standardised columns of the features and a last one of ones.
    """
    prior = bayes_llr(p_target, 1.0, 1.0)
    weight = np.where(target, p_target / target.sum(), (1 - p_target) / (~target).sum())
    ridge = np.full(len(design), RIDGE)
    ridge[-1] = 0.0

    def loss(at: Floats) -> float:
        return cross_entropy(at @ design, target, p_target) + 0.5 * float(ridge @ at**2)

    at = np.zeros(len(design))
    current = loss(at)
    for _ in range(STEPS):
        posterior = expit(at @ design - prior)
        gradient = design @ (weight * (posterior - target)) + ridge * at
        curve = weight * posterior * (1 - posterior)
        hessian = (design * curve) @ design.T + np.diag(ridge)
        # Saturated posteriors leave no curvature in some direction: least squares takes no step there.
        step = -np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        descent = float(gradient @ step)
        if -descent < 1e-14:
            at = at + step
            return at[:-1], float(at[-1])
        size = 1.0
        while (ahead := loss(at + size * step)) > current + 1e-4 * size * descent + 1e-15 and size > 1e-9:
            size /= 2
        at, current = at + size * step, ahead
    raise MetricError(f"calibration did not converge in {STEPS} Newton steps: look for extreme scores in the list")
