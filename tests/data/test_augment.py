"""Augmentation against plain numpy: exact SNR, direct convolution, masks that hide exactly what was drawn."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vgsr.data.audio import AudioError, probe
from vgsr.data.augment import Draw, NoiseSource, RirBank, add_noise, draw, reverberate, spec_augment, stack

ALL: dict[str, Any] = {
    "noise_probability": 0.5,
    "snr_db": (0.0, 15.0),
    "reverb_probability": 0.5,
    "rirs": 4,
    "time_width": 10,
    "frequency_width": 8,
}


def tone(path: Path, seconds: float, rate: int, hertz: float = 440.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hertz * time), rate, "FLOAT")
    return path


def noise_of(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- noise


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


# --- reverberation


@pytest.mark.parametrize("taps", [1, 50, 3000])
def test_reverberation_is_direct_convolution_with_the_power_kept(taps: int) -> None:
    wave, rirs = 0.1 * noise_of((3, 2000), 0), noise_of((2, taps), 1)
    wet = reverberate(wave, rirs, torch.tensor([1, -1, 0]))
    assert torch.equal(wet[1], wave[1])
    for row, rir in ((0, 1), (2, 0)):
        dry = wave[row].double().numpy()
        direct = np.convolve(dry, rirs[rir].double().numpy())[:2000]
        direct *= np.sqrt(np.mean(dry**2) / np.mean(direct**2))
        np.testing.assert_allclose(wet[row].numpy(), direct, atol=1e-5)


def test_reverberation_of_silence_and_of_nothing() -> None:
    silence = torch.zeros(2, 100)
    assert torch.equal(reverberate(silence, torch.ones(1, 10), torch.tensor([0, -1])), silence)
    wave = noise_of((2, 100), 0)
    assert torch.equal(reverberate(wave, torch.ones(1, 10), torch.tensor([-1, -1])), wave)


def test_bank_is_aligned_normalised_and_cut(tmp_path: Path) -> None:
    late = np.zeros(20000, dtype=np.float32)
    late[300], late[301], late[19000] = -0.5, 0.25, 0.1
    soundfile.write(tmp_path / "late.wav", late, 16000, "FLOAT")
    soundfile.write(tmp_path / "one.wav", np.array([0.2], dtype=np.float32), 16000, "FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(10), 16000, "FLOAT")
    bank = RirBank.of(tmp_path)
    assert bank.rirs.shape == (2, 16000)
    assert [Path(problem.uri).name for problem in bank.problems] == ["silent.wav"]
    torch.testing.assert_close(bank.rirs[0, :2], torch.tensor([-0.5, 0.25]) / math.hypot(0.5, 0.25))
    torch.testing.assert_close(bank.rirs[1, :2], torch.tensor([1.0, 0.0]))


def test_real_impulse_responses(shared_data: Path) -> None:
    bank = RirBank.of(shared_data / "rirs")
    assert len(bank.rirs) == len(bank.paths) == 4
    assert bank.rirs.shape[1] <= 16000
    torch.testing.assert_close(bank.rirs.square().sum(dim=1), torch.ones(4))
    assert (bank.rirs.abs().argmax(dim=1) == 0).all()


# --- masks


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), frames=st.integers(1, 40), bins=st.integers(1, 20))
def test_masks_hide_exactly_what_was_drawn(seed: int, frames: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    draws = [draw(rng, frames=frames, bins=bins, time_width=10, frequency_width=8) for _ in range(4)]
    features = 1.0 + torch.rand(4, frames, bins)
    masked = spec_augment(features, stack(draws).masks)
    for one, before, after in zip(draws, features, masked, strict=True):
        expected = before.clone()
        (first, width), (low, high) = one.time_mask, one.frequency_mask
        assert first + width <= frames
        assert width <= 10
        assert low + high <= bins
        assert high <= 8
        expected[first : first + width] = 0.0
        expected[:, low : low + high] = 0.0
        assert torch.equal(after, expected)


def test_no_mask_changes_nothing() -> None:
    features = noise_of((2, 9, 5), 0)
    assert torch.equal(spec_augment(features, stack([Draw(), Draw()]).masks), features)


# --- draws


def test_draws_are_a_function_of_the_generator() -> None:
    once, again = np.random.default_rng([1, 2, 3]), np.random.default_rng([1, 2, 3])
    assert [draw(once, frames=200, **ALL) for _ in range(5)] == [draw(again, frames=200, **ALL) for _ in range(5)]
    assert draw(np.random.default_rng([1, 2, 4]), frames=200, **ALL) != draw(
        np.random.default_rng([1, 2, 3]), frames=200, **ALL
    )


def test_one_setting_leaves_the_other_draws_alone() -> None:
    for seed in range(20):
        full = draw(np.random.default_rng(seed), frames=200, **ALL)
        without = draw(np.random.default_rng(seed), frames=200, **{**ALL, "reverb_probability": 0.0})
        assert without == replace(full, rir_index=-1)


def test_probabilities_ranges_and_defaults() -> None:
    rng = np.random.default_rng(0)
    draws = [draw(rng, frames=200, **ALL) for _ in range(2000)]
    levels = [one.snr_db for one in draws if math.isfinite(one.snr_db)]
    assert len(levels) / 2000 == pytest.approx(0.5, abs=0.05)
    assert min(levels) >= 0.0
    assert max(levels) <= 15.0
    assert {one.rir_index for one in draws} == {-1, 0, 1, 2, 3}
    assert {one.time_mask[1] for one in draws} == set(range(11))
    assert {one.frequency_mask[1] for one in draws} == set(range(9))
    plain = draw(rng, frames=200)
    assert (plain.snr_db, plain.rir_index, plain.time_mask[1], plain.frequency_mask[1]) == (
        math.inf,
        -1,
        0,
        0,
    )


def test_stack_of_draws() -> None:
    drawn = stack([Draw(), Draw(5.0, 2, (3, 4), (5, 6))])
    assert drawn.snr_db.tolist() == [math.inf, 5.0]
    assert drawn.rir_index.tolist() == [-1, 2]
    assert drawn.masks.tolist() == [[0, 0, 0, 0], [3, 4, 5, 6]]
