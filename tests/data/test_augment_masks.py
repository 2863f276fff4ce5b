"""SpecAugment by brute force: what is hidden is what was drawn, element by element."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vgsr.config.augment import Augment
from vgsr.data.augment import Draw, draw, spec_augment, stack

from .test_augment_draws import streams


@given(
    seed=st.integers(0, 10_000),
    frames=st.integers(1, 40),
    bins=st.integers(1, 20),
    times=st.integers(1, 4),
    bands=st.integers(1, 4),
)
def test_masks_hide_exactly_what_was_drawn(seed: int, frames: int, bins: int, times: int, bands: int) -> None:
    settings = Augment(time_mask=10, frequency_mask=8, time_masks=times, frequency_masks=bands)
    draws = [draw(streams(seed, row), settings, frames=frames, bins=bins)[0] for row in range(3)]
    features = 1.0 + torch.rand(3, frames, bins)
    masked = spec_augment(features, stack(draws).masks)
    for one, before, after in zip(draws, features, masked, strict=True):
        assert len(one.masks) == max(times, bands)
        assert sum(width > 0 for _, width, _, _ in one.masks) <= times
        assert sum(height > 0 for _, _, _, height in one.masks) <= bands
        for frame in range(frames):
            for mel in range(bins):
                hidden = any(
                    first <= frame < first + width or low <= mel < low + height
                    for first, width, low, height in one.masks
                )
                assert after[frame, mel] == (0 if hidden else before[frame, mel])
        for first, width, low, height in one.masks:
            assert 0 <= first <= first + width <= frames and width <= 10
            assert 0 <= low <= low + height <= bins and height <= 8


def test_no_mask_changes_nothing() -> None:
    features = torch.randn(2, 9, 5)
    for nothing in (Draw(), Draw(masks=((0, 0, 0, 0),))):
        assert torch.equal(spec_augment(features, stack([nothing, nothing]).masks), features)


@pytest.mark.parametrize(("times", "bands"), [(1, 1), (2, 1), (1, 2), (3, 3)])
def test_as_many_masks_as_wanted(times: int, bands: int) -> None:
    settings = Augment(time_mask=20, frequency_mask=20, time_masks=times, frequency_masks=bands)
    drawn = [draw(streams(0, row), settings, frames=1000, bins=1000)[0].masks for row in range(300)]
    assert max(sum(width > 0 for _, width, _, _ in masks) for masks in drawn) == times
    assert max(sum(height > 0 for _, _, _, height in masks) for masks in drawn) == bands
    for place in range(times):
        widths = [masks[place][1] for masks in drawn]
        assert set(widths) == set(range(21)) and np.mean(widths) == pytest.approx(10, abs=1.5)
