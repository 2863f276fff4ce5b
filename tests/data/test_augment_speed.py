"""Speed: a tone's pitch and length, and SciPy's polyphase resampler."""

import math

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st

from vgsr.data.augment import Speeds, needed

FACTORS = (1.0, 0.9, 1.1)
SAMPLES = 16000


def batch(waves: list[np.ndarray]) -> torch.Tensor:
    """Rows of the fastest factor's length, with rubbish behind those that need less."""
    width = needed(SAMPLES, max(FACTORS))
    return torch.from_numpy(
        np.stack([np.concatenate([wave, np.full(width - len(wave), 9.0)]) for wave in waves])
    ).float()


@pytest.mark.parametrize("place", range(len(FACTORS)))
def test_faster_is_higher(place: int) -> None:
    factor = FACTORS[place]
    time = np.arange(needed(SAMPLES, factor)) / 16000
    wave = np.sin(2 * np.pi * 1000 * time)
    played = Speeds(FACTORS)(batch([wave]), torch.tensor([place]))[0].double().numpy()
    assert len(played) == SAMPLES
    assert np.abs(np.fft.rfft(played)).argmax() == round(1000 * factor)  # 1 Hz a bin
    expected = np.sin(2 * np.pi * 1000 * factor * np.arange(SAMPLES) / 16000)
    np.testing.assert_allclose(played[100:-100], expected[100:-100], atol=2e-3)


def test_it_is_scipys_polyphase_resampling_within_the_filters_difference() -> None:
    rng = np.random.default_rng(0)
    # Speech-like: nothing near Nyquist, where every resampler's filter differs.
    low_pass = scipy.signal.firwin(301, 5500, fs=16000)
    waves = [
        scipy.signal.oaconvolve(rng.standard_normal(needed(SAMPLES, factor) + 300), low_pass, mode="valid")
        for factor in FACTORS
    ]
    played = Speeds(FACTORS)(batch(waves), torch.arange(3)).double().numpy()
    assert played.shape == (3, SAMPLES)
    np.testing.assert_array_equal(played[0], waves[0].astype(np.float32))
    for row, (up, down) in ((1, (10, 9)), (2, (10, 11))):
        reference = scipy.signal.resample_poly(waves[row], up, down, window=("kaiser", 12.0))[:SAMPLES]
        error = played[row, 200:-200] - reference[200:-200]
        assert 10 * math.log10(np.mean(error**2) / np.mean(reference**2)) < -35


def test_a_row_does_not_depend_on_the_others() -> None:
    speeds, index = Speeds(FACTORS), torch.tensor([2, 0, 1, 2, 1])
    waves = torch.randn(5, needed(SAMPLES, 1.1), generator=torch.Generator().manual_seed(0))
    together = speeds(waves, index)
    for row in range(5):
        torch.testing.assert_close(speeds(waves[row : row + 1], index[row : row + 1])[0], together[row])


@given(
    samples=st.integers(1, 100_000),
    percent=st.lists(st.integers(50, 200).filter(lambda p: p != 100), max_size=3, unique=True),
)
def test_a_recording_has_just_as_many_samples_as_are_needed(samples: int, percent: list[int]) -> None:
    """By exact whole numbers; and the width of a batch says how long a crop is."""
    for one in (100, *percent):
        count = needed(samples, one / 100)
        assert (count - 1) * 100 < samples * one <= count * 100
    fastest = max(100, *percent) if percent else 100
    assert needed(samples, fastest / 100) * 100 // fastest == samples
    factors = (1.0, *(one / 100 for one in percent))
    if samples < 2000:
        wave = torch.zeros(len(factors), needed(samples, fastest / 100))
        assert Speeds(factors)(wave, torch.arange(len(factors))).shape == (len(factors), samples)
