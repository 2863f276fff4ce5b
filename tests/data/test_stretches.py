"""Stretches: disjoint, in order, short enough, and all that is ever asked of a region lies in them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vgsr.data.stretches import MARGIN, stretches

seconds = st.floats(0, 3)
regions = st.lists(st.tuples(seconds, st.floats(0.01, 2)), min_size=1, max_size=6)
cases = {"found": regions, "rate": st.sampled_from([7, 40, 100]), "frames": st.integers(1, 400)}


@given(longest=st.floats(0.05, 4), **cases)
def test_they_hold_what_a_mask_of_samples_holds(found, rate, frames, longest):
    mask = np.zeros(frames, bool)
    for start, length in found:
        mask[max(0, int(np.floor(start * rate)) - MARGIN) : int(np.ceil((start + length) * rate)) + MARGIN] = True
    made = stretches(found, rate, frames, longest)
    covered = np.zeros(frames, int)
    for first, last in made:
        assert 0 <= first < last <= frames and last - first <= max(1, round(longest * rate))
        covered[first:last] += 1
    assert np.array_equal(covered, mask.astype(int)) and made == sorted(made)


@given(part=st.tuples(st.floats(0, 1), st.floats(0, 1)), **cases)
def test_every_part_of_a_region_lies_in_one_of_them(found, rate, frames, part):
    made = stretches(found, rate, frames, longest=1e9)
    for start, length in found:
        offset = part[0] * length
        begin = start + offset
        first = round(begin * rate)
        last = min(first + round(part[1] * (length - offset) * rate), frames)
        assert last <= first or any(low <= first and last <= high for low, high in made)


def test_halves_and_their_whole_are_one():
    assert stretches([(0.0, 2.0), (2.0, 2.0), (0.0, 4.0)], 100, 400) == [(0, 400)]
