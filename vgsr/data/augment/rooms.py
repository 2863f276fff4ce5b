"""Rooms: impulse responses of a folder in, a bank of bounded size and speech as it sounds in those rooms out.

    RIRS_NOISES/simulated_rirs/<smallroom | mediumroom | largeroom>/RoomNNN/*.wav    60,000 of them
    RIRS_NOISES/real_rirs_isotropic_noises/*.wav                                     responses, and noises beside them
    RIRS_NOISES/pointsource_noises/*.wav                                             noises

RIRS_NOISES: Ko et al., "A study on data augmentation of reverberant speech for robust speech recognition",
ICASSP 2017. Any other folder of responses will do.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from vgsr.data.audio import RATE, AudioError, mono, recorded
from vgsr.data.augment.folders import listing, nothing_in
from vgsr.data.augment.noise import SILENT, power
from vgsr.data.manifest import Problem

MOST = 2000  # responses in a bank: 128 MB of one second each
READERS = 8  # threads: the files are small, and may lie on a network's disk
T = TypeVar("T")


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
    before, after = power(dry), power(wet)
    kept = torch.where(after > SILENT, wet * (before / after.clamp(min=SILENT)).sqrt(), dry)
    return wave.index_copy(0, rows, kept)


@dataclass(frozen=True, eq=False)
class RirBank:
    """Room impulse responses of a folder as one tensor, and those that could not be used."""

    rirs: Tensor  # [R, L] float32 at 16 kHz, direct path at sample 0, energy 1, padded with zeros
    paths: tuple[str, ...]
    problems: tuple[Problem, ...]

    @classmethod
    def of(cls, folder: str | Path, seconds: float = 1.0, most: int = MOST) -> "RirBank":
        """The usable ones of `rir_files`, cut at `seconds`; AudioError when there is none.

        The strongest sample counts as the direct path; what is before it goes, so that speech is not delayed. Of
        several microphones the first is taken: the mean of them is no room's response.
        """
        impulses, paths, problems = [], [], []
        chosen = rir_files(folder, most)
        with ThreadPoolExecutor(READERS) as pool:
            for path, impulse in zip(chosen, pool.map(lambda path: _impulse(path, seconds), chosen), strict=True):
                if isinstance(impulse, AudioError):
                    problems.append(Problem(impulse.path, impulse.reason))
                else:
                    impulses.append(impulse)
                    paths.append(str(path))
        if not impulses:
            raise nothing_in(folder, problems)
        padded = torch.nn.utils.rnn.pad_sequence(impulses, batch_first=True)
        return cls(padded, tuple(paths), tuple(problems))


def rir_files(folder: str | Path, most: int = MOST) -> list[Path]:
    """The .wav and .flac under `folder` that are impulse responses, or `most` of them; none of them is opened.

    What RIRS_NOISES has beside them, noises, is left out. Of more than `most`, each kind of room (the folder above a
    response's own) gives as many as the others, and each room as many as the others of its kind, as far as it has
    them; which, depends on nothing but the folder's content.
    """
    found = [path for path in listing(folder) if not _is_noise(path)]
    if len(found) <= most:
        return found
    rng = np.random.Generator(np.random.Philox(0))
    rooms: dict[tuple[str, ...], dict[tuple[str, ...], list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in found:
        rooms[path.parts[:-2]][path.parts[:-1]].append(path)
    in_turn = _in_turn(
        _in_turn(_shuffled(own, rng) for own in _shuffled(list(of_kind.values()), rng)) for of_kind in rooms.values()
    )
    chosen = set(in_turn[:most])
    return [path for path in found if path in chosen]


def _is_noise(path: Path) -> bool:
    real = path.parent.name == "real_rirs_isotropic_noises"
    return "pointsource_noises" in path.parts or (real and "noise" in path.name.lower())


def _in_turn(groups: Iterable[Sequence[T]]) -> list[T]:
    """The first of each group, then the second of each that has one, …"""
    return [one for layer in zip_longest(*groups) for one in layer if one is not None]


def _shuffled(items: Sequence[T], rng: np.random.Generator) -> list[T]:
    return [items[at] for at in rng.permutation(len(items))]


def _impulse(path: Path, seconds: float) -> Tensor | AudioError:
    try:
        samples, rate = recorded(path)
        wave = mono(path, samples[:, :1], rate, 0.0)
        peak = int(np.abs(wave).argmax())
        if wave[peak] == 0:
            return AudioError(path, "an impulse response that is silent")
    except AudioError as error:
        return error
    wave = wave[peak : peak + round(seconds * RATE)]
    return torch.from_numpy(wave / np.linalg.norm(wave))
