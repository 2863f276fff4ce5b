"""Waveforms [B, T] in, log-mel features [B, frames, bins] out, on whatever device the waveforms are."""

import torch
import torchaudio.compliance.kaldi as kaldi
from torch import Tensor, nn

FRAME_SECONDS = 0.025
SHIFT_SECONDS = 0.010
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
# Kaldi works on 16-bit sample values; the factor sits in the window, where a power of two costs no accuracy.
FULL_SCALE = 32768.0
# On a CPU, so many frames at a time stay in the cache: twice as fast as the whole batch at once.
CACHED_FRAMES = 400


def frames(samples: int, sample_rate: int = 16000) -> int:
    """How many whole frames of 25 ms every 10 ms fit into `samples` (Kaldi's snip_edges)."""
    length, shift = int(sample_rate * FRAME_SECONDS), int(sample_rate * SHIFT_SECONDS)
    return 0 if samples < length else 1 + (samples - length) // shift


class Fbank(nn.Module):
    """Kaldi's filterbank: 25 ms Hamming frames every 10 ms, pre-emphasis 0.97, 20 Hz to Nyquist, no dither.

    Equal to `torchaudio.compliance.kaldi.fbank(wave * 32768, window_type="hamming", dither=0,
    num_mel_bins=bins)`, then with `mean_normalise` the mean over time of each bin taken off. No parameters
    and nothing in the state dict.
    """

    window: Tensor
    mel: Tensor

    def __init__(self, bins: int = 80, sample_rate: int = 16000, mean_normalise: bool = True) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.mean_normalise = mean_normalise
        self.length, self.shift = int(sample_rate * FRAME_SECONDS), int(sample_rate * SHIFT_SECONDS)
        self.points = 1 << (self.length - 1).bit_length()
        # The reference's own filters: computed more exactly, the narrow low ones would differ by more than
        # 1e-4.
        mel, _ = kaldi.get_mel_banks(bins, self.points, sample_rate, LOWEST_HZ, 0.0, 100.0, -500.0, 1.0)
        mel = nn.functional.pad(mel, (0, 1)).T.contiguous()
        window = torch.hamming_window(self.length, periodic=False) * FULL_SCALE
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("mel", mel, persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """[B, T] in [-1, 1] -> [B, frames, bins] float32; no gradient goes back to the waveform.

        ValueError when T is shorter than one frame.
        """
        if wave.shape[1] < self.length:
            raise ValueError(f"a waveform of {wave.shape[1]} samples is shorter than a frame, {self.length} samples")
        with torch.autocast(wave.device.type, enabled=False):
            fitting = CACHED_FRAMES // frames(wave.shape[1], self.sample_rate)
            step = max(1, fitting if wave.device.type == "cpu" else len(wave))
            features = torch.cat([self._log_mel(part) for part in wave.detach().float().split(step)])
            return features.sub_(features.mean(dim=1, keepdim=True)) if self.mean_normalise else features

    def _log_mel(self, wave: Tensor) -> Tensor:
        cut = wave.unfold(1, self.length, self.shift)
        centred = cut - cut.mean(dim=2, keepdim=True)
        padded = wave.new_zeros(*cut.shape[:2], self.points)
        inner = padded[..., : self.length]
        # Offset, then pre-emphasis (a frame's first sample is its own predecessor), each rounded as the
        # reference rounds it. Pre-emphasising the waveform once, or a fused multiply-subtract, is the same
        # on paper but moves quiet low bins by up to 7e-3: there the filters see little more than rounding.
        weighted = centred * PREEMPHASIS
        torch.sub(centred[..., 1:], weighted[..., :-1], out=inner[..., 1:])
        torch.sub(centred[..., :1], weighted[..., :1], out=inner[..., :1])
        inner.mul_(self.window)
        spectrum = torch.fft.rfft(padded)
        power = spectrum.real.square().add_(spectrum.imag.square())
        return (power @ self.mel).clamp_(min=torch.finfo(torch.float32).eps).log_()
