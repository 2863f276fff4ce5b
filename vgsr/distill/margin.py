"""MKD: a margin around the teacher, inside which the student is free.

In: discrepancies of any shape. Out: the same shape after the margin, the share of elements outside it, and μ.
The paper's formula is not public; a hinge on each element is our definition, and so is its smooth form. The unit is
that of the method, or a quantile of its running distribution, because units differ by orders of magnitude.
"""

import difflib
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgsr.distill.running import Running


class MarginError(Exception):
    """A margin that cannot be: an unknown kind or unit, or a value outside its unit."""


def hinge(d: Tensor, mu: Tensor | float) -> Tensor:
    """max(0, d - μ), elementwise: the gradient inside the margin (and at d = μ) is exactly 0."""
    return torch.relu(d - mu)


def softplus(d: Tensor, mu: Tensor | float, width: Tensor | float) -> Tensor:
    """width · log(1 + exp((d - μ) / width)), elementwise: a hinge whose corner is rounded over about `width`.

    It lies above the hinge, by width · log 2 at d = μ; its gradient is never 0, but falls off as exp((d - μ) / width).
    """
    return width * F.softplus((d - mu) / width)


KINDS = ("hinge", "softplus")
UNITS = ("absolute", "quantile")


@dataclass(frozen=True)
class Margined:
    """Discrepancies after a margin."""

    value: Tensor  # same shape as the discrepancies; 0 where masked
    before: Tensor  # scalar: mean of the counted elements before the margin; NaN of none
    active: Tensor  # scalar in [0, 1]: share of the counted elements outside the margin
    mu: Tensor  # scalar: the margin that was applied, in the method's unit


class Margin(nn.Module):
    """A margin of `value`: in the method's own unit (>= 0), or a level in [0, 1) of its running distribution.

    With unit "quantile", μ is the running quantile of the discrepancies (see `Running`): about 1 - value of them lie
    outside. The width of a softplus is `softness` times the running mean of the discrepancies, so that one setting
    serves every method. `value` may be set anew at any step: that is what a schedule does.
    """

    def __init__(self, kind: str = "hinge", value: float = 0.0, unit: str = "absolute", softness: float = 0.1) -> None:
        super().__init__()
        _check(kind, value, unit, softness)
        self.kind, self.value, self.unit, self.softness = kind, value, unit, softness
        self.quantile = Running() if unit == "quantile" else None
        self.mean = Running() if kind == "softplus" else None

    def forward(self, d: Tensor, mask: Tensor | None = None) -> Margined:
        """Apply the margin to d (any shape). Elements where `mask` (bool, same shape) is False take no part: their
        value is 0, and neither statistics nor active share count them."""
        counted = d.detach() if mask is None else d.detach()[mask]
        before = counted.mean()
        mu = d.new_tensor(self.value) if self.quantile is None else self.quantile(_quantile(counted, self.value))
        if self.mean is None:
            value = hinge(d, mu)
        else:
            width = self.softness * self.mean(before)
            value = softplus(d, mu, width.clamp_min(1e-12))
        active = (counted > mu).sum() / max(counted.numel(), 1)
        return Margined(value if mask is None else value.where(mask, 0), before, active, mu)

    def extra_repr(self) -> str:
        return f"{self.kind}, {self.value:g} {self.unit}"


def _quantile(counted: Tensor, level: float) -> Tensor:
    """The smallest element that at least `level` of them do not exceed; NaN of none."""
    finite = counted[counted.isfinite()]
    if finite.numel() == 0:
        return counted.new_tensor(math.nan)
    # The k-th smallest and not torch.quantile, which refuses more than 2^24 elements (4,096² pairs).
    return finite.kthvalue(max(1, math.ceil(level * finite.numel()))).values


def _check(kind: str, value: float, unit: str, softness: float) -> None:
    for what, name, known in (("kind", kind, list(KINDS)), ("unit", unit, list(UNITS))):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            there = ", ".join(known)
            raise MarginError(f"no margin {what} {name!r}; did you mean {near!r}? (there is: {there})")
    if not (value >= 0 and math.isfinite(value)):
        raise MarginError(f"margin value must be a number >= 0, not {value}")
    if unit == "quantile" and value >= 1:
        raise MarginError(f"a quantile margin is a level in [0, 1), not {value}: 0.5 frees half of the pairs")
    if not (softness > 0 and math.isfinite(softness)):
        raise MarginError(f"margin softness must be a number > 0, not {softness}")
