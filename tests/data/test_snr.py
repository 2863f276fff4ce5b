"""WADA-SNR: its table against an independent integration, its estimates against known mixtures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, special

from vgsr.data.audio import read
from vgsr.data.snr import G, wada_snr


def table_value(snr_db: float) -> float:
    """ln E|z| − E ln|z| of gamma(0.4) + Gaussian; unlike the table, E ln|r + n| by Dawson's integral."""
    sigma = np.sqrt(0.4 * 1.4 / 10 ** (snr_db / 10))

    def folded(x: float) -> float:
        r = x / sigma
        return sigma * np.sqrt(2 / np.pi) * np.exp(-r * r / 2) + x * special.erf(r / np.sqrt(2))

    # d/dr E ln|r + n| = √2 D(r/√2), from E ln|n| = −(γ + ln 2)/2 at r = 0; on a grid in ln r.
    grid = np.concatenate(([0.0], np.geomspace(1e-6, 1e9, 40_001)))
    slope = np.sqrt(2) * special.dawsn(grid / np.sqrt(2))
    steps = np.concatenate(([0.5e-6 * slope[1]], (slope * grid)[1:]))
    rest = integrate.cumulative_simpson(steps[1:], x=np.log(grid[1:]), initial=0.0)
    growth = np.concatenate(([0.0], steps[0] + rest))

    def logarithm(x: float) -> float:
        return np.log(sigma) - (np.euler_gamma + np.log(2)) / 2 + np.interp(x / sigma, grid, growth)

    def expectation(function: Callable[[float], float]) -> float:
        # x = e^v turns the density's pole at 0 into a tail
        values = np.linspace(-90.0, 5.0, 20_001)
        x = np.exp(values)
        density = np.exp(0.4 * values - x - special.gammaln(0.4))
        return float(integrate.simpson(density * np.array([function(one) for one in x]), x=values))

    return float(np.log(expectation(folded)) - expectation(logarithm))


@pytest.mark.parametrize("snr_db", [-20, 0, 13, 40, 77, 100])
def test_table_against_independent_integration(snr_db: int) -> None:
    assert G[snr_db + 20] == pytest.approx(table_value(snr_db), abs=2e-6)


def test_table_rises_from_gaussian_to_gamma() -> None:
    assert len(G) == 121
    assert (np.diff(G) > 0).all()
    gaussian = np.log(np.sqrt(2 / np.pi)) + (np.euler_gamma + np.log(2)) / 2
    assert gaussian < G[0] < gaussian + 1e-3
    assert G[-1] < np.log(0.4) - special.digamma(0.4)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0, 30.0])
def test_signals_of_the_model_are_judged_right(snr_db: float) -> None:
    rng = np.random.default_rng(0)
    speech = rng.gamma(0.4, size=200_000) * rng.choice([-1.0, 1.0], size=200_000)
    noise = rng.standard_normal(200_000) * np.sqrt(np.mean(speech**2) / 10 ** (snr_db / 10))
    wave = (0.02 * (speech + noise)).astype(np.float32)
    assert wada_snr(wave) == pytest.approx(snr_db, abs=0.5)


def test_real_speech_in_white_noise(shared_data: Path) -> None:
    rng = np.random.default_rng(0)
    levels = [0.0, 5.0, 10.0, 15.0, 20.0]
    paths = sorted((shared_data / "librispeech-mini").rglob("*.flac"))[::5]
    judged = []
    for path in paths:
        speech = read(path)
        noise = rng.standard_normal(len(speech)) * np.sqrt(np.mean(speech**2))
        judged.append([wada_snr((speech + noise / 10 ** (level / 20)).astype(np.float32)) for level in levels])
    assert (np.diff(judged, axis=1) > 0).all()
    np.testing.assert_allclose(np.median(judged, axis=0), levels, atol=2.0)


def test_level_and_digital_silence_do_not_matter() -> None:
    wave = (0.1 * np.random.default_rng(0).laplace(size=32000)).astype(np.float32)
    judged = wada_snr(wave)
    assert wada_snr(0.1 * wave) == pytest.approx(judged, abs=0.01)
    assert wada_snr(np.concatenate((np.zeros(9000, dtype=np.float32), wave))) == pytest.approx(judged)


def test_extremes_are_clipped() -> None:
    assert wada_snr(np.geomspace(1e-7, 1.0, 5000, dtype=np.float32)) == 100.0
    assert wada_snr(np.ones(5000, dtype=np.float32)) == -20.0


@pytest.mark.parametrize("wave", [np.zeros(100, dtype=np.float32), np.zeros(0, dtype=np.float32)])
def test_silence_has_no_snr(wave: np.ndarray) -> None:
    assert np.isnan(wada_snr(wave))
