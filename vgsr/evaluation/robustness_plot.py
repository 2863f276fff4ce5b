"""Equal error rate against SNR, a panel for each kind of noise, several systems side by side.

In: matrices or their tables, by the name of the system; of several seeds all of them. Out: one PDF and one PNG for
print. Systems differ by colour (Okabe & Ito, "Color Universal Design", 2008), line and marker, so that neither
greyscale nor colour blindness loses one, and each is named where its line ends.
"""

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
from matplotlib.axes import Axes

from vgsr import style
from vgsr.evaluation.conditions import CLEAN, NOISY, SNRS, Condition
from vgsr.evaluation.disturbances import NOISES
from vgsr.evaluation.matrix import Matrix, centre, of_table

One: TypeAlias = Matrix | pa.Table
Rates = Mapping[Condition, Sequence[float]]  # equal error rates in [0, 1], one a seed

EDGE: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}  # so that markers on one another show
BARS: dict[str, Any] = {"elinewidth": 0.8, "capsize": 0, **EDGE}
LETTERS = 22  # of a name, a line
HEIGHT = 2.6  # inches
CLEAN_PLACE = SNRS[-1] + 5.0  # where clean speech stands on the axis of SNRs
LINE_HEIGHT = 0.062  # of a name, a line, as a share of the axis


def plot(
    matrices: Mapping[str, One | Sequence[One]], path: Path, looks: Mapping[str, style.Look] | None = None
) -> None:
    """Write `path`.pdf and `path`.png.

    matrices: by system, one or, of several seeds, as many: then the line is their mean and the bars are ± one standard
    deviation. looks: of each system, where it is to look as it does elsewhere. A kind of noise that no system was
    tested in has no panel; speech that nothing was added to stands beyond the highest SNR.
    """
    rates = {name: _rates(one) for name, one in matrices.items()}
    kinds = [kind for kind in NOISES if any(one.kind == kind for each in rates.values() for one in each)]
    names = list(rates)
    drawn = {name: look.drawn() for name, look in (looks or style.looks(names, names[0], ())).items()}
    with style.styled():
        figure, panels = style.panels(len(kinds), len(kinds), style.PAGE, HEIGHT, sharey=True)
        for kind, axes in zip(kinds, panels, strict=True):
            for name, each in rates.items():
                _line(axes, kind, each, drawn[name])
            _dress(axes, kind)
        panels[0].set_ylabel("EER (%)")
        panels[0].set_ylim(bottom=0)
        _name(panels[-1], {name: _last(kinds[-1], each) for name, each in rates.items()}, drawn)
        path.parent.mkdir(parents=True, exist_ok=True)
        style.save(figure, path)


def _rates(one: One | Sequence[One]) -> Rates:
    """By condition, those that every seed has."""
    several = [one] if isinstance(one, Matrix | pa.Table) else list(one)
    found = [each.eer if isinstance(each, Matrix) else of_table(each) for each in several]
    return {
        condition: [each[condition] for each in found] for condition in found[0] if all(condition in e for e in found)
    }


def _line(axes: Axes, kind: str, rates: Rates, look: Mapping[str, Any]) -> None:
    noisy = [one for one in NOISY if one.kind == kind and one in rates]
    if not noisy:
        return
    means, spreads = _centre(rates, noisy)
    places = [one.level or 0.0 for one in noisy]
    axes.errorbar(places, means, spreads, **look, **BARS)
    if CLEAN in rates:
        # Its distance on the axis means nothing: a marker of its own, and a faint line to find it by.
        clean, spread = _centre(rates, [CLEAN])
        axes.errorbar([CLEAN_PLACE], clean, spread, **{**look, "linestyle": ""}, **BARS)
        ends = [places[-1], CLEAN_PLACE], [means[-1], clean[0]]
        axes.plot(*ends, color=look["color"], linewidth=0.5, alpha=0.5, zorder=1)


def _centre(rates: Rates, conditions: Sequence[Condition]) -> tuple[list[float], list[float] | None]:
    """Means and standard deviations over the seeds, in per cent; no deviations of a single one."""
    found = [centre([100 * eer for eer in rates[one]]) for one in conditions]
    return [mean for mean, _ in found], [spread for _, spread in found if spread is not None] or None


def _last(kind: str, rates: Rates) -> float | None:
    """Where the line of a system ends, in per cent."""
    there = [one for one in (*NOISY, CLEAN) if one in rates and one.kind in (kind, "clean")]
    return _centre(rates, there)[0][-1] if there else None


def _dress(axes: Axes, kind: str) -> None:
    axes.set_title(kind, loc="left", fontweight="bold")
    axes.set_xlabel("SNR (dB)")
    axes.set_xticks([*SNRS, CLEAN_PLACE], [*(f"{snr:g}" for snr in SNRS), "clean"])
    axes.set_xlim(SNRS[0] - 1.5, CLEAN_PLACE + 1.5)
    axes.grid(axis="y", color=style.PALE, linewidth=0.5)
    axes.set_axisbelow(True)


def _name(axes: Axes, ends: Mapping[str, float | None], drawn: Mapping[str, Mapping[str, Any]]) -> None:
    """The name of each system, with its line and marker, beside where it ends; names keep a distance to each other."""
    there = sorted((end, name) for name, end in ends.items() if end is not None)
    low, high = axes.get_ylim()
    wrapped = [textwrap.fill(name, LETTERS) for _, name in there]
    heights = [LINE_HEIGHT * (high - low) * (1 + text.count("\n")) for text in wrapped]
    places = _spread([end for end, _ in there], heights)
    for (end, name), text, place in zip(there, wrapped, places, strict=True):
        look = drawn[name]
        first, last = CLEAN_PLACE + 3.0, CLEAN_PLACE + 6.5
        axes.plot([CLEAN_PLACE + 1.0, first], [end, place], color=look["color"], linewidth=0.5, clip_on=False)
        axes.plot([first, last], [place, place], **{**look, "marker": ""}, clip_on=False)
        axes.plot([(first + last) / 2], [place], **look, **EDGE, clip_on=False)
        axes.annotate(text, (last + 0.8, place), va="center", annotation_clip=False)


def _spread(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Centres in the order of `wanted`, clear of each other's heights, moved as little as may be (least squares)."""
    # With the room that those below take subtracted, clear of each other is in order; that is isotonic regression.
    below = [sum(heights[:number]) + heights[number] / 2 for number in range(len(heights))]
    groups: list[list[float]] = []
    for value, taken in zip(wanted, below, strict=True):
        groups.append([value - taken])
        while len(groups) > 1 and statistics.fmean(groups[-2]) >= statistics.fmean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    starts = [statistics.fmean(group) for group in groups for _ in group]
    return [start + taken for start, taken in zip(starts, below, strict=True)]
