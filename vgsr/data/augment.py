"""Crops of speech [B, T] in, disturbed speech [B, T] and masked features [B, F, M] out.

What happens to an utterance is *drawn* on the CPU, per utterance, from a generator of that utterance's own
(the caller derives it from seed, epoch and position), so a batch does not depend on the number of workers.
It is then *applied* to the whole batch on the training device:

    worker:  recipe = draw(rng, frames=…, noise_probability=…, …);  noise, _ = source.draw(rng, samples)
    device:  wave = reverberate(wave, bank.rirs, drawn.rir_index)
             wave = add_noise(wave, noise, drawn.snr_db)
             features = spec_augment(fbank(wave), drawn.masks)
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from vgsr.data.audio import RATE, AudioError, probe, read
from vgsr.data.manifest import Problem

SUFFIXES = (".wav", ".flac")
# Mean power under which a signal counts as silent (−200 dB of full scale): its level cannot be set or kept.
SILENT = 1e-20
Mask = tuple[int, int]


@dataclass(frozen=True)
class Draw:
    """What is to happen to one utterance; every field says "nothing" by its default."""

    snr_db: float = math.inf
    rir_index: int = -1
    time_mask: Mask = (0, 0)  # first frame, number of frames
    frequency_mask: Mask = (0, 0)  # first bin, number of bins


class Draws(NamedTuple):
    """The draws of a batch as tensors."""

    snr_db: Tensor  # [B] float32, inf = no noise
    rir_index: Tensor  # [B] int64, -1 = no reverberation
    masks: Tensor  # [B, 4] int64: first frame, frames, first bin, bins


def draw(
    rng: np.random.Generator,
    *,
    frames: int,
    bins: int = 80,
    noise_probability: float = 0.0,
    snr_db: tuple[float, float] = (0.0, 20.0),
    reverb_probability: float = 0.0,
    rirs: int = 0,
    time_width: int = 0,
    frequency_width: int = 0,
) -> Draw:
    """The recipe of one utterance of `frames` × `bins` features.

    Noise at an SNR uniform in the range `snr_db`, one of `rirs` impulse responses (0 = there are none), one
    mask of 0…`time_width` frames and one of 0…`frequency_width` bins (SpecAugment: Park et al., Interspeech
    2019). It takes the same eight numbers from `rng` whatever the settings are, so changing one setting
    leaves the other draws as they were.
    """
    noisy, level, reverberant, rir, *places = rng.random(8).tolist()
    low, high = snr_db
    return Draw(
        snr_db=low + level * (high - low) if noisy < noise_probability else math.inf,
        rir_index=int(rir * rirs) if rirs and reverberant < reverb_probability else -1,
        time_mask=_mask(places[0], places[1], time_width, frames),
        frequency_mask=_mask(places[2], places[3], frequency_width, bins),
    )


def _mask(share: float, place: float, widest: int, size: int) -> Mask:
    width = int(share * (min(widest, size) + 1))
    return int(place * (size - width + 1)), width


def stack(draws: Sequence[Draw]) -> Draws:
    """The draws of a batch, in order, as tensors."""
    return Draws(
        torch.tensor([one.snr_db for one in draws], dtype=torch.float32),
        torch.tensor([one.rir_index for one in draws], dtype=torch.int64),
        torch.tensor([(*one.time_mask, *one.frequency_mask) for one in draws], dtype=torch.int64).view(-1, 4),
    )


def add_noise(wave: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """[B, T] + [B, T] at [B] dB: the powers over the crop have exactly this ratio.

    An SNR of inf, silent speech and silent noise leave the row as it is. The sum may go beyond [-1, 1]; it
    is not clipped.
    """
    speech, disturbance = _power(wave), _power(noise)
    mixed = snr_db.isfinite().unsqueeze(1) & (speech > SILENT) & (disturbance > SILENT)
    ratio = speech / disturbance.clamp(min=SILENT) * torch.pow(10.0, -snr_db / 10.0).unsqueeze(1)
    return torch.where(mixed, wave + ratio.sqrt() * noise, wave)


def reverberate(wave: Tensor, rirs: Tensor, index: Tensor) -> Tensor:
    """Row b of [B, T] convolved with `rirs[index[b]]` [L]; length and power kept; index -1 = as it is."""
    rows = (index >= 0).nonzero().squeeze(1)
    if len(rows) == 0:
        return wave
    dry, length = wave[rows], wave.shape[1]
    impulses = rirs[index[rows], :length]
    # Room for the whole tail, so that nothing wraps round; 5-smooth lengths are quick on CPU and GPU.
    points = scipy.fft.next_fast_len(length + impulses.shape[1] - 1, real=True)
    spectrum = torch.fft.rfft(dry, n=points) * torch.fft.rfft(impulses, n=points)
    wet = torch.fft.irfft(spectrum, n=points)[:, :length]
    before, after = _power(dry), _power(wet)
    kept = torch.where(after > SILENT, wet * (before / after.clamp(min=SILENT)).sqrt(), dry)
    return wave.index_copy(0, rows, kept)


def spec_augment(features: Tensor, masks: Tensor) -> Tensor:
    """Mean-normalised features [B, F, M] with the frames and bins of `Draws.masks` [B, 4] set to 0."""
    frame, frames, low, bins = masks.unsqueeze(2).unbind(1)
    hidden_frames = _between(features.shape[1], frame, frames)
    hidden_bins = _between(features.shape[2], low, bins)
    return features.masked_fill(hidden_frames.unsqueeze(2) | hidden_bins.unsqueeze(1), 0.0)


def _between(size: int, start: Tensor, width: Tensor) -> Tensor:
    """[B, size] bool from [B, 1] starts and widths."""
    place = torch.arange(size, device=start.device)
    return (place >= start) & (place < start + width)


def _power(wave: Tensor) -> Tensor:
    return wave.square().mean(dim=1, keepdim=True)


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
        for path in _listing(folder):
            try:
                files.append(NoiseFile(str(path), probe(path).seconds))
            except AudioError as error:
                problems.append(Problem(error.path, error.reason))
        if not files:
            raise _empty(folder, problems)
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
            try:
                return _cut(file, moment, samples), file.path
            except AudioError as error:
                warnings.warn(f"noise left out: {error}", stacklevel=2)
        raise AudioError(self.files[first].path, "nor can any other noise recording of this source be read")


def _cut(file: NoiseFile, moment: float, samples: int) -> np.ndarray:
    spare = file.seconds - samples / RATE
    if spare > 0:
        wave = read(file.path, start=moment * spare, seconds=samples / RATE)
    else:
        whole = read(file.path)
        wave = np.roll(whole, -int(moment * len(whole)))
    # Repeats from its start; also fills the odd sample that rounding at another rate leaves open.
    return np.resize(wave, samples)


@dataclass(frozen=True, eq=False)
class RirBank:
    """Room impulse responses of a folder as one tensor, and those that could not be used."""

    rirs: Tensor  # [R, L] float32 at 16 kHz, direct path at sample 0, energy 1, padded with zeros
    paths: tuple[str, ...]
    problems: tuple[Problem, ...]

    @classmethod
    def of(cls, folder: str | Path, seconds: float = 1.0) -> "RirBank":
        """Every usable .wav and .flac under `folder`, cut at `seconds`; AudioError when there is none.

        The strongest sample counts as the direct path; what is before it goes, so that speech is not delayed.
        """
        impulses, paths, problems = [], [], []
        for path in _listing(folder):
            try:
                impulses.append(_impulse(path, seconds))
                paths.append(str(path))
            except AudioError as error:
                problems.append(Problem(error.path, error.reason))
        if not impulses:
            raise _empty(folder, problems)
        padded = torch.nn.utils.rnn.pad_sequence(impulses, batch_first=True)
        return cls(padded, tuple(paths), tuple(problems))


def _impulse(path: Path, seconds: float) -> Tensor:
    wave = read(path)
    peak = int(np.abs(wave).argmax())
    if wave[peak] == 0:
        raise AudioError(path, "an impulse response that is silent")
    wave = wave[peak : peak + round(seconds * RATE)]
    return torch.from_numpy(wave / np.linalg.norm(wave))


def _listing(folder: str | Path) -> list[Path]:
    """Audio files under `folder` in an order that is the same on every machine."""
    root = Path(folder)
    found = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _empty(folder: str | Path, problems: list[Problem]) -> AudioError:
    if not Path(folder).is_dir():
        return AudioError(folder, "no such folder")
    refused = "".join(f"; {problem.uri}: {problem.reason}" for problem in problems[:3])
    return AudioError(folder, f"no usable .wav or .flac in it ({len(problems)} refused{refused})")
