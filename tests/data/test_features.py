"""The filterbank against torchaudio's Kaldi-compliant one, on noise and on real speech."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio.compliance.kaldi as kaldi

from vgsr.data.audio import read
from vgsr.data.features import Fbank, frames


def reference(wave: torch.Tensor, rate: int = 16000, bins: int = 80) -> torch.Tensor:
    return kaldi.fbank(
        wave.unsqueeze(0) * 32768, num_mel_bins=bins, dither=0.0, sample_frequency=rate, window_type="hamming"
    )


@pytest.mark.parametrize("offset", [0.0, 0.2])
@pytest.mark.parametrize("level", [0.3, 1e-3, 0.0])
def test_noise_equals_the_reference(level: float, offset: float) -> None:
    wave = level * torch.randn(2, 16000, generator=torch.Generator().manual_seed(0)) + offset
    features = Fbank(mean_normalise=False)(wave)
    for one, row in zip(features, wave, strict=True):
        torch.testing.assert_close(one, reference(row), atol=1e-4, rtol=0)


def test_other_rates_and_bins_equal_the_reference() -> None:
    wave = 0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(1))
    features = Fbank(bins=40, sample_rate=8000, mean_normalise=False)(wave.unsqueeze(0))
    torch.testing.assert_close(features[0], reference(wave, rate=8000, bins=40), atol=1e-4, rtol=0)


@pytest.mark.parametrize("folder", ["librispeech-mini", "avspeech-mini/audio", "ravdess"])
def test_real_speech_equals_the_reference(shared_data: Path, folder: str) -> None:
    fbank = Fbank(mean_normalise=False)
    for path in sorted((shared_data / folder).rglob("*.flac"))[::37][:12]:
        wave = torch.from_numpy(read(path, seconds=4.0))
        torch.testing.assert_close(fbank(wave.unsqueeze(0))[0], reference(wave), atol=1e-4, rtol=0, msg=str(path))


def test_mean_of_every_bin_is_zero_and_nothing_else_changes() -> None:
    wave = 0.1 * torch.randn(3, 12345, generator=torch.Generator().manual_seed(2))
    plain, normalised = Fbank(mean_normalise=False)(wave), Fbank()(wave)
    torch.testing.assert_close(normalised, plain - plain.mean(dim=1, keepdim=True))
    assert normalised.mean(dim=1).abs().max() < 1e-4


def test_a_batch_is_its_utterances() -> None:
    wave = 0.1 * torch.randn(9, 9000, generator=torch.Generator().manual_seed(3))
    alone = torch.cat([Fbank()(one.unsqueeze(0)) for one in wave])
    torch.testing.assert_close(Fbank()(wave), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("samples", [400, 559, 560, 16000, 31999])
def test_number_of_frames(samples: int) -> None:
    assert frames(samples) == len(reference(torch.rand(samples))) == Fbank()(torch.rand(1, samples)).shape[1]


def test_too_short() -> None:
    assert frames(399) == 0
    with pytest.raises(ValueError, match="399 samples is shorter than a frame"):
        Fbank()(torch.zeros(2, 399))


def test_float32_under_autocast_and_nothing_to_save() -> None:
    fbank = Fbank()
    wave = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 8000)).astype(np.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = fbank(wave)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, fbank(wave))
    assert not fbank.state_dict()
