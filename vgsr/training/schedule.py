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
