"""Noise against plain numpy: an exact SNR, parts of recordings that are where they were drawn from, broken files."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vgsr.data.audio import AudioError, probe
from vgsr.data.augment import NoiseSource, add_noise


def tone(path: Path, seconds: float, rate: int, hertz: float = 440.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hertz * time), rate, "FLOAT")
    return path


def noise_of(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(level=st.floats(-10.0, 40.0), speech=st.floats(1e-4, 1.0), noise=st.floats(1e-4, 1.0))
def test_the_mixture_has_the_snr_asked_for(level: float, speech: float, noise: float) -> None:
    wave, disturbance = speech * noise_of((2, 8000), 0), noise * noise_of((2, 8000), 1)
    mixed = add_noise(wave, disturbance, torch.tensor([level, 5.0]))
    added = (mixed.double() - wave.double()).numpy()
    for row, wanted in enumerate((level, 5.0)):
        ratio = np.mean(wave[row].double().numpy() ** 2) / np.mean(added[row] ** 2)
        assert 10 * np.log10(ratio) == pytest.approx(wanted, abs=0.01)


def test_what_cannot_be_mixed_is_untouched() -> None:
    wave, noise = noise_of((3, 500), 0), noise_of((3, 500), 1)
    wave[1], noise[2] = 0.0, 0.0
    mixed = add_noise(wave, noise, torch.tensor([math.inf, 5.0, 5.0]))
    assert torch.equal(mixed, wave)


def test_noise_is_read_by_seek_and_looped_when_short(tmp_path: Path) -> None:
    ramp = (np.arange(16000) / 16000).astype(np.float32)
    soundfile.write(tmp_path / "ramp.wav", ramp, 16000, "FLOAT")
    source, rng = NoiseSource.of(tmp_path), np.random.default_rng(0)
    part, path = source.draw(rng, 4000)
    assert path == str(tmp_path / "ramp.wav")
    start = round(float(part[0]) * 16000)
    np.testing.assert_array_equal(part, ramp[start : start + 4000])
    looped, _ = source.draw(rng, 40000)
    begin = round(float(looped[0]) * 16000)
    np.testing.assert_array_equal(looped, np.resize(np.roll(ramp, -begin), 40000))


def test_noise_at_another_rate_keeps_its_pitch(tmp_path: Path) -> None:
    tone(tmp_path / "deep" / "a.wav", 2.0, 44100, hertz=1000.0)
    wave, _ = NoiseSource.of(tmp_path).draw(np.random.default_rng(0), 16000)
    assert wave.shape == (16000,)
    assert wave.dtype == np.float32
    assert np.abs(np.fft.rfft(wave)).argmax() == 1000


def test_real_noise_at_both_rates(shared_data: Path) -> None:
    source = NoiseSource.of(shared_data / "noise")
    assert len(source.files) == 10
    assert not source.problems
    assert {probe(file.path).sample_rate for file in source.files} == {16000, 44100}
    rng = np.random.default_rng(0)
    drawn = [source.draw(rng, 3 * 16000) for _ in range(60)]
    assert {wave.shape for wave, _ in drawn} == {(48000,)}
    assert {path for _, path in drawn} == {file.path for file in source.files}


def test_unreadable_noise_is_listed_and_an_empty_folder_refused(tmp_path: Path) -> None:
    tone(tmp_path / "a.WAV", 0.5, 16000)
    (tmp_path / "broken.wav").write_bytes(b"RIFFnothing")
    (tmp_path / "notes.txt").write_text("no audio")
    source = NoiseSource.of(tmp_path)
    assert [Path(file.path).name for file in source.files] == ["a.WAV"]
    assert [Path(problem.uri).name for problem in source.problems] == ["broken.wav"]
    (tmp_path / "a.WAV").unlink()
    with pytest.raises(AudioError, match="no usable"):
        NoiseSource.of(tmp_path)
    with pytest.raises(AudioError, match="no such folder"):
        NoiseSource.of(tmp_path / "absent")


def test_noise_that_goes_bad_later_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 0.5, 16000)
    tone(tmp_path / "b.wav", 0.5, 16000)
    source = NoiseSource.of(tmp_path)
    (tmp_path / "a.wav").unlink()
    with pytest.warns(UserWarning, match="noise left out"):
        paths = {source.draw(np.random.default_rng(seed), 100)[1] for seed in range(20)}
    assert paths == {str(tmp_path / "b.wav")}
    (tmp_path / "b.wav").unlink()
    with pytest.warns(UserWarning), pytest.raises(AudioError, match="nor can any other"):
        source.draw(np.random.default_rng(0), 100)
