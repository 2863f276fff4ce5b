"""DNSMOS against the authors' implementation."""

import math

import numpy as np
import onnxruntime
import pytest

from vgsr.data import dnsmos
from vgsr.teachers import weights


@pytest.fixture(scope="module")
def network() -> onnxruntime.InferenceSession:
    try:
        return dnsmos.load(weights.locate(weights.DNSMOS))
    except weights.WeightError as error:
        pytest.skip(f"real weights cannot be had here: {error}")


def buzz(seconds: float, noise: float) -> np.ndarray:
    """A square wave of 120 Hz that comes and goes three times a second, and white noise."""
    time = np.arange(int(seconds * 16000)) / 16000
    wave = 0.2 * np.sign(np.sin(2 * np.pi * 120 * time + 0.3)) * (np.sin(2 * np.pi * 3 * time + 0.3) > 0)
    return (wave + noise * np.random.RandomState(0).standard_normal(len(time))).astype(np.float32)


# `dnsmos.run(buzz(seconds, noise), 16000)["ovrl_mos"]` of the package speechmos 0.0.1.1 with librosa 0.11: doubled
# twice, exactly one window, several windows of which some are a sample short, and a wave far shorter than a window.
@pytest.mark.parametrize(
    ("seconds", "noise", "expected"),
    [(4.4, 0.01, 2.34923), (9.01, 0.1, 1.85339), (20.0, 0.001, 2.18377), (0.7, 0.0, 2.23495)],
)
def test_it_is_the_reference_figure(
    network: onnxruntime.InferenceSession, seconds: float, noise: float, expected: float
) -> None:
    assert dnsmos.overall(network, buzz(seconds, noise)) == pytest.approx(expected, abs=1e-3)


def test_noise_lowers_it(network: onnxruntime.InferenceSession, shared_data) -> None:
    from vgsr.data.audio import read

    rng = np.random.default_rng(0)
    for file in sorted((shared_data / "librispeech-mini").rglob("*.flac"))[::100]:
        wave = read(file, seconds=9.1)
        noisy = [wave + level * wave.std() * rng.standard_normal(len(wave)).astype(np.float32) for level in (0, 0.1, 1)]
        assert (np.diff([dnsmos.overall(network, one) for one in noisy]) < 0).all()


def test_nothing_has_no_rating(network: onnxruntime.InferenceSession) -> None:
    assert math.isnan(dnsmos.overall(network, np.zeros(0, np.float32)))
