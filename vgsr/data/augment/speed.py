"""Speed: speech played faster or slower, which moves its pitch and formants too, as `sox speed` does.

A speaker at another speed is mostly trained as another person (Yamamoto et al., Interspeech 2019; Wang et al., DKU at
VoxSRC 2020): see `vgsr.training.classes`.
"""

from collections.abc import Sequence
from fractions import Fraction

from torch import Tensor, nn
from torchaudio.transforms import Resample


def ratio(factor: float) -> Fraction:
    """A factor as the fraction of small numbers that it is written as: 0.9 -> 9/10."""
    return Fraction(factor).limit_denominator(100)


def needed(samples: int, factor: float) -> int:
    """How many samples of a recording make `samples` at this speed."""
    return -int(-samples * ratio(factor) // 1)


class Speeds(nn.Module):
    """Changes the speed of a batch; `factors` in the order of the draws' index, 1.1 = a tenth faster and higher."""

    def __init__(self, factors: Sequence[float]) -> None:
        super().__init__()
        self.ratios = [ratio(factor) for factor in factors]
        # Windowed sinc, by phases: 1.1 is what was sampled 11 times in the time of 10 samples.
        self.resample = nn.ModuleList(Resample(one.numerator, one.denominator) for one in self.ratios)

    def forward(self, wave: Tensor, index: Tensor) -> Tensor:
        """[B, W] with row b's first `needed(T, factors[index[b]])` samples, W those of the fastest -> [B, T]."""
        samples = int(wave.shape[1] / max(self.ratios))
        out = wave.new_empty(len(wave), samples)
        for place, (one, resample) in enumerate(zip(self.ratios, self.resample, strict=True)):
            rows = (index == place).nonzero().squeeze(1)
            if len(rows):
                out[rows] = resample(wave[rows, : needed(samples, float(one))])[:, :samples]
        return out
