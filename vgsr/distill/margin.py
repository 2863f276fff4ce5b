"""MKD: a margin around the teacher, inside which the student is free.

In: discrepancies of any shape. Out: the same shape after the margin, the share of elements outside it, and μ.
The paper's formula is not public; a hinge on each element is our definition. Its unit is that of the method,
or a quantile of its running distribution, because units differ by orders of magnitude.
"""

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MOMENTUM = 0.9  # of the running quantile: a memory of about ten batches


class MarginError(Exception):
    """A margin that cannot be: an unknown kind or unit, or a value outside its unit."""


def hinge(d: Tensor, mu: Tensor | float) -> Tensor:
    """max(0, d - μ), elementwise: the gradient inside the margin (and at d = μ) is exactly 0."""
    return torch.relu(d - mu)


KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"hinge": hinge}
UNITS = ("absolute", "quantile")


@dataclass(frozen=True)
class Margined:
    """Discrepancies after a margin."""

    value: Tensor  # same shape as the discrepancies
    active: Tensor  # scalar in [0, 1]: share of the counted elements outside the margin
    mu: Tensor  # scalar: the margin that was applied, in the method's unit


class Margin(nn.Module):
    """A margin of `value`: in the method's own unit (>= 0), or a level in [0, 1) of its running distribution.

    With unit "quantile", μ is an exponentially averaged, bias-corrected quantile of the discrepancies: about
    1 - value of them lie outside. It learns in training mode only and is saved in the state_dict. In
    evaluation mode before any training it is the quantile of the batch at hand.
    """

    average: Tensor
    seen: Tensor

    def __init__(self, kind: str = "hinge", value: float = 0.0, unit: str = "absolute") -> None:
        super().__init__()
        _check(kind, value, unit)
        self.kind, self.value, self.unit = kind, value, unit
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))  # weight gathered in `average`: divides its bias out

    def forward(self, d: Tensor, mask: Tensor | None = None) -> Margined:
        """Apply the margin to d (any shape).

        `mask` (bool, same shape) says which elements count for quantile and active share; all are margined.
        """
        counted = d.detach() if mask is None else d.detach()[mask]
        mu = self._quantile(counted) if self.unit == "quantile" else d.new_tensor(self.value)
        active = (counted > mu).sum() / max(counted.numel(), 1)
        return Margined(KINDS[self.kind](d, mu), active, mu)

    def extra_repr(self) -> str:
        return f"{self.kind}, {self.value:g} {self.unit}"

    def _quantile(self, counted: Tensor) -> Tensor:
        # Without the infinities of an overflow: one of them would stay in the average for ever.
        finite = counted[counted.isfinite()]
        if finite.numel() == 0:
            return (self.average / self.seen.clamp_min(1 - MOMENTUM)).to(counted.dtype)
        # The k-th smallest and not torch.quantile, which refuses more than 2^24 elements (4,096² pairs).
        now = finite.kthvalue(max(1, math.ceil(self.value * finite.numel()))).values
        if self.training:
            self.average.mul_(MOMENTUM).add_((1 - MOMENTUM) * now.to(self.average.dtype))
            self.seen.mul_(MOMENTUM).add_(1 - MOMENTUM)
        return torch.where(self.seen > 0, (self.average / self.seen).to(now.dtype), now)


def _check(kind: str, value: float, unit: str) -> None:
    for what, name, known in (("kind", kind, list(KINDS)), ("unit", unit, list(UNITS))):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            there = ", ".join(known)
            raise MarginError(f"no margin {what} {name!r}; did you mean {near!r}? (there is: {there})")
    if not (value >= 0 and math.isfinite(value)):
        raise MarginError(f"margin value must be a number >= 0, not {value}")
    if unit == "quantile" and value >= 1:
        raise MarginError(f"a quantile margin is a level in [0, 1), not {value}: 0.5 frees half of the pairs")
