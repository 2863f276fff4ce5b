"""Learning curves: validation EER by epoch, for each arm its mean and its range over the seeds."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

from vgsr.evaluation.metrics import Floats
from vgsr.report.collect import Arm, Benchmark
from vgsr.style import COLUMN, PALE, Look, Plot, legend, panels


@dataclass(frozen=True, eq=False)
class Curve:
    """Validation EER in [0, 1] of one arm at its epochs [E]: mean, lowest and highest of `runs` runs."""

    arm: str
    epochs: Floats
    mean: Floats
    low: Floats
    high: Floats
    runs: int


def curve(arm: Arm, histories: Mapping[str, list[tuple[int, float]]]) -> Curve | None:
    """An arm's curve over its completed runs, at the epochs that all of them have; None where there is none."""
    values = [dict(histories[run.run_id]) for run in arm.completed if histories[run.run_id]]
    if not values:
        return None
    epochs = sorted(set.intersection(*map(set, values)))
    table = np.array([[own[epoch] for epoch in epochs] for own in values])
    return Curve(arm.name, np.array(epochs, float), table.mean(0), table.min(0), table.max(0), len(values))


def others(benchmark: Benchmark) -> list[list[tuple[int, float]]]:
    """The histories of all runs that no curve is about, pruned and failed ones too."""
    shown = {run.run_id for arm in benchmark.shown for run in arm.completed}
    return [history for run_id, history in benchmark.histories.items() if run_id not in shown and history]


def plot(benchmark: Benchmark, looks: Mapping[str, Look]) -> Plot | str:
    """All of them in one figure; or why there is none."""
    curves = [found for arm in benchmark.shown if (found := curve(arm, benchmark.histories)) is not None]
    rest = others(benchmark)
    if not curves and not rest:
        return "no run has got through an epoch"
    figure, (axes,) = panels(1, 1, COLUMN, 2.7)
    for number, one in enumerate(curves):
        look = looks[one.arm]
        every = max(1, len(one.epochs) // 6)  # markers of two arms are at other epochs, so that none is hidden
        axes.fill_between(one.epochs, 100 * one.low, 100 * one.high, color=look.colour, alpha=0.15, linewidth=0)
        axes.plot(
            one.epochs, 100 * one.mean, label=one.arm, markevery=(number % every, every), zorder=3, **look.drawn()
        )
    for number, history in enumerate(rest):
        epochs, values = zip(*history, strict=True)
        label = f"{len(rest)} other {'run' if len(rest) == 1 else 'runs'}" if number == 0 else None
        axes.plot(epochs, 100 * np.array(values), color=PALE, linewidth=0.6, zorder=1, label=label)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("validation EER (%)")
    legend(figure, axes, 2)
    several = any(one.runs > 1 for one in curves)
    band = "; the band is the range over the seeds, the line their mean" if several else ", one seed each"
    return Plot(figure, f"Validation EER by epoch{band}.")
