"""Scores to log-likelihood ratios, and the Bayes threshold that follows from them.

In: scores and labels of held-out trials. Out: a `Calibration`, the affine map LLR = scale·score + offset
(natural logarithm), fitted by `logistic` with the score as its one feature. `cllr` measures how good such
log-likelihood ratios are.
"""

from dataclasses import dataclass
from typing import overload

import numpy.typing as npt

from vgsr.evaluation import logistic
from vgsr.evaluation.metrics import Floats, MetricError, bayes_llr, check_costs, check_trials


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
    """The affine map from scores [T] with labels [T] that `logistic.fit` finds.

    The share of targets in the list does not matter, `p_target` does. Scores that are all the same say nothing:
    scale and offset come out 0. Raises MetricError as `metrics.operating_points` does.
    """
    values, target = check_trials(scores, labels)
    found = logistic.fit(values[:, None], target, p_target)
    return Calibration(float(found.weights[0]), found.offset)


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
    return (bayes_llr(p_target, c_miss, c_fa) - calibration.offset) / calibration.scale
