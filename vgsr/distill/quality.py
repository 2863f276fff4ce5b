"""QAW: how much a sample counts, from the quality of its face and its speech.

In: signals `[B, S]` (a column each, in its own unit, higher is better; NaN = not known) and their statistics
over the training set. Out: weights `[B]` of mean 1. The published formula is not public; our definition is

    z = (signal - mean) / std
    q = floor + (1 - floor) · sigmoid(z / temperature)
    w = combine(q over signals) / mean over the batch

Every q lies in [floor, 1], and so does their combination; hence every weight lies in [floor, 1 / floor].
"""

from dataclasses import dataclass

import torch
from torch import Tensor

COMBINATIONS = ("product", "mean")


class QualityError(Exception):
    """Settings or signals that quality weights cannot be made from."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation `[S]` of each signal over the training set; std 0: it tells nothing."""

    mean: Tensor
    std: Tensor


def statistics(values: Tensor) -> Statistics:
    """Statistics of signals `[N, S]` over N samples, leaving out the values that are not finite.

    The deviation is that of the population. A signal that is never known has mean 0 and std 0.
    """
    if len(values) == 0:
        raise QualityError("quality statistics of no samples: is the training split empty?")
    known = values.where(values.isfinite(), float("nan"))
    # Around the median, because a constant need not equal its own rounded mean, and must have std exactly 0.
    median = known.nanmedian(dim=0).values.nan_to_num()
    shift = (known - median).nanmean(dim=0).nan_to_num()
    variance = (known - median - shift).square().nanmean(dim=0).nan_to_num()
    return Statistics(mean=median + shift, std=variance.sqrt())


def check_settings(temperature: float, floor: float, combine: str) -> None:
    """Raise QualityError for settings outside their range."""
    if not temperature > 0:
        raise QualityError(f"quality temperature must be > 0, not {temperature}")
    if not 0 <= floor <= 1:
        raise QualityError(f"quality floor must be in 0..1, not {floor}")
    if combine not in COMBINATIONS:
        raise QualityError(f"quality combine must be one of {', '.join(COMBINATIONS)}, not {combine!r}")


@torch.no_grad()
def weights(
    signals: Tensor,
    statistics: Statistics,
    *,
    temperature: float = 1.0,
    floor: float = 0.1,
    combine: str = "product",
) -> Tensor:
    """Weights `[B]` of mean 1 from signals `[B, S]`; no gradient.

    A NaN signal is neutral (z = 0), and so is every value of a signal whose std is 0. "product" is the
    geometric mean over signals, so that floor and spread do not depend on how many there are; one poor signal
    pulls harder than under "mean".
    """
    check_settings(temperature, floor, combine)
    if signals.shape[1:] != statistics.mean.shape or signals.shape[1] == 0:
        raise QualityError(
            f"quality signals {list(signals.shape)}, statistics of {list(statistics.mean.shape)} signals: "
            "give both for the same signals, at least one"
        )
    z = (signals - statistics.mean) / statistics.std
    z = z.where((statistics.std > 0) & ~z.isnan(), 0)
    # With floor 0 a hopeless batch could sum to 0; the smallest number keeps its mean at 1.
    tiny = torch.finfo(z.dtype).tiny
    quality = (floor + (1 - floor) * torch.sigmoid(z / temperature)).clamp_min(tiny)
    combined = quality.log().mean(dim=1).exp() if combine == "product" else quality.mean(dim=1)
    return combined * (len(combined) / combined.sum().clamp_min(tiny))
