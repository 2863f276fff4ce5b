"""What is said of an EER or of the difference of two: the figures, their intervals, and what these rest on.

In and out: frozen records, made by `vgsr.evaluation.significance`, with a line to print.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vgsr.evaluation.protocol import counted


@dataclass(frozen=True)
class Basis:
    """What an interval rests on.

    speakers: all those in the trials; target_speakers: those with target trials; replicates: resampled lists of either
    kind; dropped: those of resampled speakers without a target or a non-target trial, not used; training: in words,
    how training noise is in the interval.
    """

    speakers: int
    target_speakers: int
    targets: int
    nontargets: int
    replicates: int
    dropped: int
    training: str
    warnings: tuple[str, ...]

    @property
    def method(self) -> str:
        """How the interval was made, in words."""
        dropped = f" ({self.dropped:,} unusable)" if self.dropped else ""
        return (
            f"bootstrap over the speakers of both sides, {self.replicates:,} lists{dropped}, the same for all systems, "
            f"less its excess within pairs; t interval of the log; {self.training}"
        )

    def line(self) -> str:
        """All but the warnings in one printable line."""
        return f"{self.speakers:,} speakers · {counted(self.targets, self.nontargets)} · {self.method}"


@dataclass(frozen=True)
class MeanEer:
    """Mean EER of a system's seeds with its 95 % interval, in [0, 1]; eers: one a seed."""

    eer: float
    low: float
    high: float
    eers: tuple[float, ...]
    basis: Basis

    def line(self) -> str:
        """It in one printable line, in per cent."""
        return (
            f"EER {_percent(self.eers)}, 95 % interval {100 * self.low:.2f} to {100 * self.high:.2f} % · "
            f"{self.basis.line()}"
        )


@dataclass(frozen=True)
class Comparison:
    """System A against the baseline B on one list; EERs in [0, 1], one a seed.

    relative: (A − B) / B of the mean EERs, negative where A errs less; low, high: its 95 % interval; p: two-sided, of
    there being no difference.
    """

    eers_a: tuple[float, ...]
    eers_b: tuple[float, ...]
    relative: float
    low: float
    high: float
    p: float
    basis: Basis

    @property
    def eer_a(self) -> float:
        """Mean EER of A's seeds."""
        return float(np.mean(self.eers_a))

    @property
    def eer_b(self) -> float:
        """Mean EER of B's seeds."""
        return float(np.mean(self.eers_b))

    @property
    def verdict(self) -> str:
        """What may be said of A: `better`, `worse`, or `no difference shown` where the interval holds 0."""
        return "better" if self.high < 0 else "worse" if self.low > 0 else "no difference shown"

    def line(self) -> str:
        """It in one printable line, in per cent."""
        return (
            f"EER {_percent(self.eers_a)} against {_percent(self.eers_b)}: {100 * self.relative:+.1f} %, 95 % interval "
            f"{100 * self.low:+.1f} to {100 * self.high:+.1f} %, p {self.p:.3g}, {self.verdict} · {self.basis.line()}"
        )


def _percent(eers: Sequence[float]) -> str:
    """The mean EER, and the EERs of the seeds when there are several."""
    each = f" ({', '.join(f'{100 * eer:.2f}' for eer in eers)})" if len(eers) > 1 else ""
    return f"{100 * float(np.mean(eers)):.2f} %{each}"
