"""Schedules: functions of progress in epochs (a float), never of steps, so the number of workers changes nothing."""


def learning_rate(progress: float, *, peak: float, final: float, warmup: float, epochs: float) -> float:
    """Exponential from `peak` at 0 to `final` at `epochs`, times a linear rise from 0 to 1 over `warmup` epochs.

    WeSpeaker's ExponentialDecrease with warm_from_zero; its scale_ratio (global batch / 64) multiplies both rates there
    and belongs into them here. It falls during the warm-up too, so that the peak is never quite reached.
    """
    risen = min(progress / warmup, 1.0) if warmup else 1.0
    return risen * peak * (final / peak) ** min(progress / epochs, 1.0)


def ramp(progress: float, *, start: float, full: float, value: float, shape: str = "linear") -> float:
    """0 until epoch `start`, `value` from epoch `full` (the classifier's margin).

    In between `linear` (our definition) or `exponential` (WeSpeaker's): value · (1 − 0.001^share of the way), which
    has half of the value after a tenth of the way, and steps up by its last thousandth at the end. WeSpeaker counts
    epochs from 1: its epochs 20 and 40 are 19 and 39 here.
    """
    if progress >= full:
        return value
    if progress <= start:  # before dividing: a step has start and full at one place
        return 0.0
    share = (progress - start) / (full - start)
    return value * (share if shape == "linear" else 1.0 - 1e-3**share)


def margin(progress: float, *, schedule: str, value: float, epochs: float) -> float:
    """The margin μ, or its level, over `epochs`: `constant`, `warmup` from 0 to `value`, `anneal` from `value` to 0.

    Both are linear and stay at their end afterwards (our definition). A warm-up pulls hard at first and then lets go,
    an annealed margin gives freedom first and tightens.
    """
    if schedule == "constant":
        return value
    risen = ramp(progress, start=0.0, full=epochs, value=value)
    return risen if schedule == "warmup" else value - risen
