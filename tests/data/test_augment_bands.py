"""Bands: what is left of a tone at a frequency, in dB."""

import math

import numpy as np
import pytest
import torch

from vgsr.data.augment import BANDS, band_limit

PLACE = {name: place for place, name in enumerate(BANDS)}


def left(name: str, hertz: float) -> float:
    """What a band lets through of a tone in the middle of 2 s, in dB."""
    time = torch.arange(32000, dtype=torch.float64) / 16000
    wave = torch.sin(2 * math.pi * hertz * time).float()[None]
    limited = band_limit(wave, torch.tensor([PLACE[name]]))
    middle = slice(8000, 24000)
    return 10 * math.log10(limited[0, middle].square().mean() / wave[0, middle].square().mean() + 1e-12)


@pytest.mark.parametrize(
    ("name", "kept", "lost"),
    [
        ("telephone", (300, 1000, 3400), (50, 150, 200, 4000, 5000, 7900)),
        ("wideband telephone", (50, 300, 4000, 7000), ()),
        ("recorded at 8 kHz", (20, 300, 3700), (4000, 5000, 7900)),
        ("recorded at 12 kHz", (20, 300, 5500), (6000, 7000)),
    ],
)
def test_a_band_keeps_what_is_in_it_and_takes_the_rest(name: str, kept: tuple, lost: tuple) -> None:
    for hertz in kept:
        assert left(name, hertz) == pytest.approx(0, abs=0.1)
    for hertz in lost:
        assert left(name, hertz) < -60


def test_halfway_to_the_stop_the_gain_is_a_half() -> None:
    assert left("telephone", 3700) == pytest.approx(20 * math.log10(0.5), abs=0.1)
    assert left("telephone", 250) == pytest.approx(20 * math.log10(0.5), abs=0.1)


def test_only_the_rows_drawn_are_limited_and_nothing_wraps_round() -> None:
    wave = torch.zeros(3, 4000)
    wave[:, 3999] = 1.0  # a click at the very end
    limited = band_limit(wave, torch.tensor([-1, PLACE["telephone"], -1]))
    assert torch.equal(limited[0], wave[0]) and torch.equal(limited[2], wave[2])
    assert limited[1, :1500].abs().max() < 1e-4 and limited[1, 3999] > 0.3
    assert torch.equal(band_limit(wave, torch.full((3,), -1)), wave)


def test_a_band_is_a_convolution_without_delay() -> None:
    wave = torch.randn(1, 3000, generator=torch.Generator().manual_seed(0))
    click = torch.zeros(1, 6001)
    click[0, 3000] = 1
    response = band_limit(click, torch.tensor([0])).double().numpy()[0]
    np.testing.assert_allclose(response, response[::-1], atol=1e-6)  # symmetric about its middle
    whole = np.convolve(wave[0].double().numpy(), response)[3000:6000]
    np.testing.assert_allclose(band_limit(wave, torch.tensor([0]))[0].numpy(), whole, atol=2e-4)
