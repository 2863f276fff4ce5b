"""Headroom: against a sorted list, and that it falls as real speech is clipped, whatever happens to it afterwards."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from vgsr.data.audio import RATE, read, resample
from vgsr.data.clipping import headroom

SHARES = (0.0, 0.001, 0.004, 0.02, 0.1)
"""Shares of the samples that are clipped, mildest first."""


@given(st.integers(0, 99), st.integers(100, 3000))
def test_it_is_the_mean_distance_of_the_loudest_hundredth_from_the_peak(seed: int, count: int) -> None:
    wave = np.random.default_rng(seed).laplace(size=count).astype(np.float32)
    loudest = sorted((abs(float(x)) for x in wave), reverse=True)[: round(count / 100)]
    expected = sum(20 * math.log10(loudest[0] / x) for x in loudest) / len(loudest)
    assert headroom(wave) == pytest.approx(expected, abs=1e-9)
    assert headroom(wave / 7) == pytest.approx(expected, abs=1e-4)


def test_a_square_wave_has_none_and_digital_silence_does_not_count() -> None:
    square = np.sign(np.sin(np.arange(4000) / 9 + 0.1)).astype(np.float32)
    assert headroom(square) == 0
    wave = np.random.default_rng(0).laplace(size=4000).astype(np.float32)
    assert headroom(np.concatenate((np.zeros(5000, np.float32), wave))) == headroom(wave)


@pytest.mark.parametrize("count", [0, 1, 99])
def test_too_few_samples_are_not_judged(count: int) -> None:
    assert math.isnan(headroom(np.concatenate((np.ones(count, np.float32), np.zeros(500, np.float32)))))


@given(st.integers(0, 99), st.lists(st.floats(0.01, 10), min_size=2, max_size=5))
def test_it_never_rises_as_the_same_wave_is_clipped_lower(seed: int, levels: list[float]) -> None:
    wave = np.random.default_rng(seed).laplace(size=2000)
    values = [headroom(np.clip(wave, -level, level)) for level in sorted(levels)]
    assert (np.diff(values) >= -1e-9).all()


def clipped(wave: np.ndarray, share: float) -> np.ndarray:
    level = np.quantile(np.abs(wave), 1 - share)
    return (0.5 * np.clip(wave, -level, level) / level).astype(np.float32)


def speech(shared_data: Path, seconds: float | None = None) -> list[np.ndarray]:
    files = sorted((shared_data / "librispeech-mini").rglob("*.flac"))[::9]
    return [read(file, 1.0 if seconds else 0.0, seconds) for file in files]


@pytest.mark.parametrize("seconds", [None, 1.0])
def test_real_speech_clipped_at_rising_gain(shared_data: Path, seconds: float | None) -> None:
    judged = np.array([[headroom(clipped(wave, share)) for share in SHARES] for wave in speech(shared_data, seconds)])
    assert (np.diff(judged[:, :4], axis=1) < 0).all()
    assert (judged[:, 3:] == 0).all()  # more than a hundredth is clipped
    assert judged[:, 0].min() > 1


def as_mp3(wave: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, wave, 3 * RATE, format="MP3")
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


@pytest.mark.parametrize("coded", [False, True])
def test_clipping_shows_after_resampling_and_coding(shared_data: Path, coded: bool) -> None:
    judged = []
    for wave in speech(shared_data):
        wide = resample(wave, RATE, 3 * RATE)
        versions = [clipped(wide, share) for share in (0.0, 0.01, 0.1)]
        judged.append([headroom(resample(as_mp3(v) if coded else v, 3 * RATE, RATE)) for v in versions])
    clean, mild, severe = np.array(judged).T
    # Nearly every clean recording has more headroom than nearly every clipped one.
    for worse in (mild, severe):
        assert np.mean(clean[:, None] > worse) > 0.9
        assert np.median(worse) < 2.5 < np.median(clean)
