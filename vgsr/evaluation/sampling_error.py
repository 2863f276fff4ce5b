"""The standard error of a difference of mean EERs: other speakers, and other seeds, would have given another one.

In: the EERs of trained systems on one list, in resampled lists too, and which of their contrasts are one seed's.
Out: a `StandardError`.

Speakers: the variance of `resampling`, of the mean over seeds. Seeds: their EERs differ by more than this one list
explains, and what is more, divided by their number, is added. The list explains the variance over speakers of the
seeds' own deviations from their mean; it would count twice if it were not taken off.

Few seeds measure that excess badly, and the t quantile must be one of few degrees of freedom where they matter. It is
the mean of both parts' quantiles, weighted by their variances (W. G. Cochran and G. M. Cox, "Experimental Designs",
1950). The degrees of freedom of Welch and Satterthwaite are overestimated just where the seeds are alike by luck: with
three of them, and training noise the greater part, a 95 % interval would hold the truth in 92 % of cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

from vgsr.evaluation.metrics import Floats
from vgsr.evaluation.resampling import Replicates

LEAST_P = 1e-12  # a smaller p value is given as this one
ROUNDING = 1e-24  # a variance of figures of the order of 1 that is less is none


@dataclass(frozen=True)
class StandardError:
    """Of an estimate whose variance is the sum of parts, each with the degrees of freedom that it is known by."""

    parts: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """The standard error."""
        return float(np.sqrt(sum(variance for variance, _ in self.parts)))

    def margin(self, confidence: float) -> float:
        """Half the width of an interval that holds the truth with probability `confidence`."""
        return self._quantile((1 - confidence) / 2) if self.value else 0.0

    def p_value(self, estimate: float) -> float:
        """Probability of an estimate at least so far from 0, on either side, where the truth is 0."""
        if not estimate:
            return 1.0
        if self._quantile(LEAST_P / 2) <= abs(estimate):
            return LEAST_P
        return float(brentq(lambda p: self._quantile(p / 2) - abs(estimate), LEAST_P, 1.0, xtol=LEAST_P))

    def _quantile(self, tail: float) -> float:
        """What the estimate exceeds the truth by with probability `tail`."""
        quantiles = sum(variance * -float(stdtrit(freedom, tail)) for variance, freedom in self.parts)
        return quantiles / self.value if self.value else 0.0


def standard_error(observed: Floats, replicates: Replicates, arms: Sequence[Floats], speakers: int) -> StandardError:
    """Of the sum over arms of the mean of arm @ observed.

    observed [systems]: figures of the order of 1, of which `replicates` has those in resampled lists; each arm
    [seeds, systems] holds one contrast of them a seed; speakers: those with target trials. A single seed cannot tell
    training noise: beside an arm of several seeds it is taken to be all that these differ by, and without one it is
    left out.
    """
    several = [arm for arm in arms if len(arm) > 1]
    alone = len(arms) - len(several)
    # Resampled from themselves, so many speakers vary by less than as many others would.
    scale = speakers / (speakers - 1)
    whole = np.sum([arm.mean(axis=0) for arm in arms], axis=0)
    parts = [(scale * replicates.variance(whole), min(speakers - 1.0, replicates.freedom(whole)))]
    for arm in several:
        deviations = arm - arm.mean(axis=0)
        of_this_list = scale * sum(map(replicates.variance, deviations)) / (len(arm) - 1)
        between = float(np.var(arm @ observed, ddof=1))
        parts.append((max(0.0, between - of_this_list) / len(arm) + alone * between, len(arm) - 1.0))
    return StandardError(tuple((variance if variance > ROUNDING else 0.0, freedom) for variance, freedom in parts))
