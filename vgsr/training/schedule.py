"""Schedules: functions of progress in epochs (a float), never of steps, so the number of workers changes nothing."""


def learning_rate(progress: float, *, peak: float, final: float, warmup: float, epochs: float) -> float:
    """Linear from 0 to `peak` over `warmup` epochs, then exponential to `final` at `epochs` (WeSpeaker's shape)."""
    if progress < warmup:
        return peak * progress / warmup
    share = (progress - warmup) / max(epochs - warmup, 1e-9)
    return peak * (final / peak) ** min(share, 1.0)


def ramp(progress: float, *, start: float, full: float, value: float) -> float:
    """0 until epoch `start`, `value` from epoch `full`, linear in between (AAM margin; our definition)."""
    if progress >= full:
        return value
    return value * max(progress - start, 0.0) / (full - start)


def margin(progress: float, *, schedule: str, value: float, epochs: float) -> float:
    """The margin μ, or its level, over `epochs`: `constant`, `warmup` from 0 to `value`, `anneal` from `value` to 0.

    Both are linear and stay at their end afterwards (our definition). A warm-up pulls hard at first and then lets go,
    an annealed margin gives freedom first and tightens.
    """
    if schedule == "constant":
        return value
    risen = ramp(progress, start=0.0, full=epochs, value=value)
    return risen if schedule == "warmup" else value - risen
