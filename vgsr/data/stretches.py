"""Which stretches of a recording its utterances use: regions in seconds in, ranges of samples out.

The ranges are disjoint and in order. Whatever part of a region is asked for, by a start and a length in seconds that
are rounded to samples, lies in ranges that adjoin: every region is widened by MARGIN samples for that rounding.
"""

from collections.abc import Iterable
from math import ceil, floor

LONGEST = 60.0  # s; a part of a stretch is read by reading the stretch
MARGIN = 1


def stretches(
    regions: Iterable[tuple[float, float]], rate: int, frames: int, longest: float = LONGEST
) -> list[tuple[int, int]]:
    """Ranges `[first, last)` of a recording of `frames` samples at `rate` Hz; regions are (start, seconds).

    Regions that overlap or touch become one stretch; one that is longer than `longest` seconds is cut.
    """
    limit = max(1, round(longest * rate))
    return [
        (first, min(first + limit, last))
        for begin, last in _merged(regions, rate, frames)
        for first in range(begin, last, limit)
    ]


def _merged(regions: Iterable[tuple[float, float]], rate: int, frames: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, seconds in sorted(regions):
        first = min(max(0, floor(start * rate) - MARGIN), frames)
        last = min(ceil((start + seconds) * rate) + MARGIN, frames)
        if last <= first:
            continue
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found
