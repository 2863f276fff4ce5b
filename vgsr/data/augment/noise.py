"""Noise: recordings of a folder, parts of them drawn at random, and their mixing into speech at an exact SNR."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vgsr.data.audio import RATE, AudioError, probe, read
from vgsr.data.augment.folders import listing, nothing_in
from vgsr.data.manifest import Problem

# Mean power under which a signal counts as silent (−200 dB of full scale): its level cannot be set or kept.
SILENT = 1e-20


def add_noise(wave: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """[B, T] + [B, T] at [B] dB: the powers over the crop have exactly this ratio.

    An SNR of inf, silent speech and silent noise leave the row as it is. The sum may go beyond [-1, 1]; it
    is not clipped.
    """
    speech, disturbance = power(wave), power(noise)
    mixed = snr_db.isfinite().unsqueeze(1) & (speech > SILENT) & (disturbance > SILENT)
    ratio = speech / disturbance.clamp(min=SILENT) * torch.pow(10.0, -snr_db / 10.0).unsqueeze(1)
    return torch.addcmul(wave, torch.where(mixed, ratio.sqrt(), 0.0), noise)


def power(wave: Tensor) -> Tensor:
    """Mean square of each row [B, T] -> [B, 1]."""
    # By the norm: no copy of all samples, which costs more than to read them.
    return torch.linalg.vector_norm(wave, dim=1, keepdim=True).square() / wave.shape[1]


@dataclass(frozen=True)
class NoiseFile:
    """A noise recording and its length in seconds."""

    path: str
    seconds: float


@dataclass(frozen=True)
class NoiseSource:
    """Noise recordings of a folder, and those that could not be used."""

    files: tuple[NoiseFile, ...]
    problems: tuple[Problem, ...]

    @classmethod
    def of(cls, folder: str | Path) -> "NoiseSource":
        """Every readable .wav and .flac under `folder`, by header; AudioError when there is none."""
        files, problems = [], []
        for path in listing(folder):
            try:
                files.append(NoiseFile(str(path), probe(path).seconds))
            except AudioError as error:
                problems.append(Problem(error.path, error.reason))
        if not files:
            raise nothing_in(folder, problems)
        return cls(tuple(files), tuple(problems))

    def draw(self, rng: np.random.Generator, samples: int) -> tuple[np.ndarray, str]:
        """`samples` of a random recording from a random moment (16 kHz mono float32 [T]), and its path.

        A recording shorter than that is looped. One whose header was fine and whose samples are not is
        passed over with a warning for the next in the list; AudioError when no recording can be read.
        """
        choice, moment = rng.random(2)
        first = int(choice * len(self.files))
        for step in range(len(self.files)):
            file = self.files[(first + step) % len(self.files)]
            wave = self.read(file, moment, samples)
            if wave is not None:
                return wave, file.path
        raise AudioError(self.files[first].path, "nor can any other noise recording of this source be read")

    def read(self, file: NoiseFile, moment: float, samples: int) -> np.ndarray | None:
        """`samples` of a recording from one of its moments, in [0, 1); None, with a warning, where it broke."""
        try:
            return _cut(file, moment, samples)
        except AudioError as error:
            warnings.warn(f"noise left out: {error}", stacklevel=3)
            return None


def _cut(file: NoiseFile, moment: float, samples: int) -> np.ndarray:
    spare = file.seconds - samples / RATE
    if spare > 0:
        wave = read(file.path, start=moment * spare, seconds=samples / RATE)
    else:
        whole = read(file.path)
        wave = np.roll(whole, -int(moment * len(whole)))
    # Repeats from its start; also fills the odd sample that rounding at another rate leaves open.
    return np.resize(wave, samples)
