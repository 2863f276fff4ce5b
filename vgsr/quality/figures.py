"""Figures of quality signals: values in; distributions, rank correlations and extreme samples out. NaN = not known."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

BARS = " ▁▂▃▄▅▆▇█"
BINS = 12
FEWEST = 3  # samples that a correlation needs


@dataclass(frozen=True)
class Distribution:
    """One signal over its samples; the figures are of the known ones, NaN where there is none.

    known: share of the samples. histogram: `BINS` characters, evenly from the 1 % to the 99 % quantile, with what
    lies beyond in the outer two; a space is an empty bin.
    """

    known: float
    mean: float
    std: float
    low: float  # 5 % quantile
    median: float
    high: float  # 95 % quantile
    histogram: str


def distribution(values: np.ndarray) -> Distribution:
    """The distribution of `values` [n]."""
    known = np.asarray(values, np.float64)[np.isfinite(values)]
    share = len(known) / max(len(values), 1)
    if not len(known):
        unknown = float("nan")
        return Distribution(share, unknown, unknown, unknown, unknown, unknown, "")
    low, median, high = (float(value) for value in np.quantile(known, [0.05, 0.5, 0.95]))
    return Distribution(share, float(known.mean()), float(known.std()), low, median, high, _bars(known))


def rank_correlations(table: np.ndarray) -> np.ndarray:
    """Spearman's coefficients `[S, S]` of the columns of `table` [n, S], each over the rows where both are known.

    NaN where fewer than three rows are, or where one of the two does not vary.
    """
    size = table.shape[1]
    found = np.full((size, size), np.nan)
    for one in range(size):
        for other in range(one + 1):
            both = table[np.isfinite(table[:, [one, other]]).all(axis=1)][:, [one, other]]
            if len(both) >= FEWEST and (both.min(axis=0) < both.max(axis=0)).all():
                ranks = stats.rankdata(both, axis=0)
                found[one, other] = found[other, one] = np.corrcoef(ranks, rowvar=False)[0, 1]
    return found


def extremes(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the worst, from the worst on, and of the best, from the best on: `count` of each where there are so many.

    No row is in both; rows that are not known are in neither.
    """
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    count = min(count, len(order) // 2)
    return order[:count], order[len(order) - count :][::-1]


def _bars(known: np.ndarray) -> str:
    low, high = np.quantile(known, [0.01, 0.99])
    if low == high:
        return BARS[-1].center(BINS)
    counts, _ = np.histogram(known.clip(low, high), bins=BINS, range=(low, high))
    # A bin with anything in it gets at least the lowest bar.
    return "".join(BARS[int(np.ceil(level))] for level in counts / counts.max() * (len(BARS) - 1))
