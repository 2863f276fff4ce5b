"""Detection error trade-off: misses against false alarms of each arm, a panel for each trial list.

Probit axes, on which Gaussian scores give straight lines (Martin et al., Eurospeech 1997). Scores of two models have
different scales and are never pooled: of several seeds the curve is the mean, at each false-alarm rate, of the probits
of their miss rates (our definition).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from scipy.special import ndtri

from vgsr.evaluation import score_files
from vgsr.evaluation.metrics import Det, det
from vgsr.report.collect import Arm, Benchmark
from vgsr.style import COLUMN, PAGE, PALE, Look, Plot, legend, panels

TICKS = (0.01, 0.1, 0.5, 2, 5, 10, 20, 40, 60)  # per cent
WIDEST = 60.0  # per cent: nobody asks what happens beyond it
POINTS = 400


def curve(arm: Arm, trials: str, scores: Mapping[str, Mapping[str, Path]]) -> Det | None:
    """The curve of an arm on a list over its completed runs with score tables; None where there are none."""
    tables = [score_files.read(own[trials]) for run in arm.completed if trials in (own := scores[run.run_id])]
    return mean([det(table["score"].to_numpy(), table["label"].to_numpy()) for table in tables]) if tables else None


def mean(curves: Sequence[Det]) -> Det:
    """The mean of curves over the false-alarm rates that all of them reach; one curve is itself."""
    if len(curves) == 1:
        return curves[0]
    least = max(one.false_alarm.min() for one in curves)
    most = min(one.false_alarm.max() for one in curves)
    grid = np.linspace(most, least, POINTS)
    # np.interp wants rising places; a curve's false alarms fall as its misses rise.
    misses = [np.interp(grid, one.false_alarm[::-1], one.miss[::-1]) for one in curves]
    return Det(np.mean(misses, axis=0), grid)


def plot(benchmark: Benchmark, looks: Mapping[str, Look]) -> Plot | str:
    """All lists; or why there is none."""
    curves = {
        trials: {arm.name: found for arm in benchmark.shown if (found := curve(arm, trials, benchmark.scores))}
        for trials in benchmark.lists
    }
    curves = {trials: own for trials, own in curves.items() if own}
    if not curves:
        return "no run has a score table"
    columns = min(len(curves), 3)
    figure, axes = panels(len(curves), columns, COLUMN if columns == 1 else PAGE, {1: 3.3, 2: 3.6}.get(columns, 3.0))
    for (trials, own), place in zip(curves.items(), axes, strict=True):
        for name, one in own.items():
            look = looks[name]
            place.plot(one.false_alarm, one.miss, color=look.colour, linestyle=look.line, label=name)
        _axes(place, list(own.values()))
        if len(curves) > 1:
            place.set_title(trials, loc="left", fontweight="bold")
    most = max(axes, key=lambda place: len(place.get_lines()))
    legend(figure, most, 2 if columns == 1 else 4)
    caption = (
        "Misses against false alarms on probit axes; on the diagonal they are equal. Of several seeds the curve is the "
        "mean, at each false-alarm rate, of the probits of their miss rates: scores of different models are not pooled."
    )
    return Plot(figure, caption)


def _axes(axes: Axes, curves: Sequence[Det]) -> None:
    """Square, the same rates on both axes, from the lowest that a curve reaches before the other leaves the picture."""
    top = float(ndtri(WIDEST / 100))
    inside = [value for one in curves for value in (one.miss[one.false_alarm < top], one.false_alarm[one.miss < top])]
    low = min(float(values.min()) for values in inside if len(values))
    axes.plot([low, top], [low, top], color=PALE, linewidth=0.6, zorder=0)
    ticks = [tick for tick in TICKS if low <= ndtri(tick / 100) <= top]
    places = [float(ndtri(tick / 100)) for tick in ticks]
    axes.set_xticks(places, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(places, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(low, top)
    axes.set_ylim(low, top)
    axes.set_aspect("equal")
    axes.set_xlabel("false alarms (%)")
    axes.set_ylabel("misses (%)")
