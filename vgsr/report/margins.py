"""EER against the margin, a panel for each method and unit: does a looser hold help, and how loose?

A margin in a method's own unit and one as a level of its running distribution are different axes, and so are the units
of two methods: each pair has a panel of its own. The EER is the best one of a run on the validation list, as only that
is there for every trial of a search. A run with several distillations is in the panel of each.
"""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vgsr import tracking
from vgsr.distill import METHODS
from vgsr.report.collect import Benchmark
from vgsr.report.settings import held
from vgsr.style import BLACK, BLUE, COLUMN, GREY, LABEL, PAGE, VERMILION, Plot, panels

KEY = "best_val_eer"
# What kind of run a point is, and how it is drawn: marker, colour, whether it is filled.
MARKS = {
    "searched": ("o", BLUE, True),
    "searched, pruned": ("o", BLUE, False),
    "reference": ("^", VERMILION, True),
    "control": ("X", GREY, True),
}


@dataclass(frozen=True)
class Point:
    """One run: its margin, its best validation EER in [0, 1], and what kind of run it is (a key of `MARKS`)."""

    margin: float
    eer: float
    kind: str
    arm: str


@dataclass(frozen=True)
class Panel:
    """The runs of one method with margins in one unit: `absolute`, or `quantile` for a level. By rising margin."""

    method: str
    unit: str
    points: tuple[Point, ...]


def gather(benchmark: Benchmark) -> list[Panel]:
    """All panels, the method with the lowest EER first, its absolute margins before its levels."""
    found: dict[tuple[str, str], list[Point]] = {}
    for arm in benchmark.arms:
        for run in arm.runs:
            if KEY not in run.figures or run.state not in (tracking.COMPLETED, tracking.PRUNED):
                continue
            kind = "control" if run.is_control else "searched" if arm.searched else "reference"
            kind = "searched, pruned" if run.state == tracking.PRUNED else kind
            for one in held(run):
                point = Point(one.margin, run.figures[KEY], kind, arm.name)
                found.setdefault((one.method, one.unit), []).append(point)
    best = {name: min(point.eer for key, own in found.items() if key[0] == name for point in own) for name, _ in found}
    keys = sorted(found, key=lambda key: (best[key[0]], key))
    return [Panel(*key, tuple(sorted(found[key], key=lambda point: (point.margin, point.eer)))) for key in keys]


def units(found: list[Panel]) -> dict[str, str]:
    """The unit of each method that has absolute margins. One of a plugin that is not installed has no known unit."""
    named = [panel.method for panel in found if panel.unit == "absolute"]
    return {name: METHODS[name].unit if name in METHODS else "unknown here" for name in named}


def plot(benchmark: Benchmark, baseline: str) -> Plot | str:
    """All panels over one EER axis, with the baseline's mean EER as a line; or why there is none."""
    found = gather(benchmark)
    if not any(point.kind.startswith("searched") for panel in found for point in panel.points):
        return "no margin was searched"
    columns = min(len(found), 2 if len(found) <= 4 else 5)
    small = columns <= 2
    figure, axes = panels(len(found), columns, COLUMN if small else PAGE, 1.9 if small else 1.35, sharey=True)
    arm = benchmark.arm(baseline)
    level = arm.figure(KEY) if arm is not None else None
    for panel, place in zip(found, axes, strict=True):
        if level is not None:
            place.axhline(100 * level.mean, color=BLACK, linewidth=0.8, linestyle=(0, (5, 2)), zorder=1)
        _draw(panel, place, not small)
    figure.supylabel("validation EER (%)", fontsize=LABEL)
    handles = [_mark(kind) for kind in MARKS if any(point.kind == kind for panel in found for point in panel.points)]
    if level is not None:
        handles.append(Line2D([], [], color=BLACK, linewidth=0.8, linestyle=(0, (5, 2)), label=baseline))
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if small else len(handles))
    return Plot(figure, _caption(found))


def _caption(found: list[Panel]) -> str:
    known = units(found)
    told = " Units: " + "; ".join(f"{name}: {unit}" for name, unit in known.items()) + "." if known else ""
    return (
        "Best validation EER of each run against its margin, in the method's own unit or as a level of the running "
        f"distribution of its discrepancies. A pruned trial's is of the epochs it had.{told}"
    )


def _draw(panel: Panel, axes: Axes, dense: bool) -> None:
    for kind in MARKS:
        own = [point for point in panel.points if point.kind == kind]
        mark = _mark(kind)
        mark.set_data([point.margin for point in own], [100 * point.eer for point in own])
        axes.add_line(mark)
    axes.autoscale_view()
    axes.set_title(panel.method, loc="left", fontweight="bold")
    if panel.unit == "quantile":
        axes.set_xlabel("margin, level")
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    else:
        axes.set_xlabel("margin, own unit")
        largest = max(point.margin for point in panel.points)
        axes.set_xlim(-0.06 * (largest or 1), 1.1 * (largest or 1))
        axes.xaxis.set_major_locator(MaxNLocator(3 if dense else 5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter("{x:g}")


def _mark(kind: str) -> Line2D:
    marker, colour, filled = MARKS[kind]
    face = colour if filled else "none"
    return Line2D([], [], linestyle="none", marker=marker, color=colour, markerfacecolor=face, label=kind, zorder=3)
