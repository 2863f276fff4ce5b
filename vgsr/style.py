"""One look for every plot: readable at a column's width, in print, in greyscale and to colour-blind eyes.

Colours are those of Okabe and Ito ("Color Universal Design", 2008) without their yellow, which is lost on white; every
curve has a line and a marker of its own besides. Figures are made without pyplot, so nothing is shared with a user's
own plots and nothing is left open.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMN, PAGE = 3.3, 7.0  # inches: a column of a two-column page, and the page
DOTS = 300  # an inch, of the PNG
LABEL, TICK = 7.5, 7.0  # points
BLACK, BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = (
    "#000000",
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)
GREY, PALE = "#757575", "#C4C4C4"
SOLID, DOTTED = "-", (0, (1, 1.2))
DASHES = ((0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (9, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (7, 1.5, 3, 1.5)))
ROUND, MARKERS, CROSSES = "o", ("s", "^", "D", "v", "<", ">"), ("X", "P")
SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same page on every machine
    "font.size": LABEL,
    "axes.labelsize": LABEL,
    "axes.titlesize": LABEL,
    "xtick.labelsize": TICK,
    "ytick.labelsize": TICK,
    "legend.fontsize": TICK,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.6,
    "lines.markeredgewidth": 0.6,
    "pdf.fonttype": 42,  # text stays text, as publishers ask
    "figure.dpi": DOTS,
    "savefig.dpi": DOTS,
}


@dataclass(frozen=True)
class Look:
    """How an arm is drawn in every plot of a report."""

    colour: str
    line: Any
    marker: str

    def drawn(self) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot`."""
        return {"color": self.colour, "linestyle": self.line, "marker": self.marker}


@dataclass(frozen=True)
class Plot:
    """A figure and what it shows, said in the words of a caption."""

    figure: Figure
    caption: str


def looks(names: Sequence[str], baseline: str, controls: Sequence[str]) -> dict[str, Look]:
    """A look for each arm: the baseline black and solid, controls grey and dotted, the rest by their order."""
    found = {}
    for number, name in enumerate(name for name in names if name != baseline and name not in controls):
        # Six colours, five lines: it takes thirty arms until two look the same.
        colour, marker = (own[number % 6] for own in ((BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY), MARKERS))
        found[name] = Look(colour, DASHES[number % 5], marker)
    for number, name in enumerate(controls):
        found[name] = Look(GREY, DOTTED, CROSSES[number % 2])
    if baseline in names:
        found[baseline] = Look(BLACK, SOLID, ROUND)
    return found


@contextmanager
def styled() -> Iterator[None]:
    """The look, for as long as figures are made and written in it; the user's settings are as they were after it."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def panels(count: int, columns: int, width: float, height: float, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `count` equal axes in rows of `columns`; `height` of one row, both in inches."""
    rows = -(-count // columns)
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    axes = list(grid.flat)
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def legend(figure: Figure, axes: Axes, columns: int) -> None:
    """One legend for a figure, under it, of what `axes` holds."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def save(figure: Figure, place: Path) -> None:
    """Write `place`.png and `place`.pdf; without dates in them, so that equal figures are equal files."""
    figure.savefig(f"{place}.png", metadata={"Software": None})
    figure.savefig(f"{place}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
