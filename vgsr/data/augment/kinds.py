"""Kinds of noise: a folder, laid out like MUSAN or not, in; a kind, its range of SNRs and a part of its recordings out.

    musan/noise/<subset>/*.wav    musan/music/<subset>/*.wav    musan/speech/<subset>/*.wav   (babble is made of it)

MUSAN: Snyder, Chen & Povey, arXiv 1510.08484. A folder without these three subfolders is of one kind.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vgsr.config.augment import Augment
from vgsr.data.audio import AudioError
from vgsr.data.augment.noise import SILENT, NoiseFile, NoiseSource
from vgsr.data.manifest import Problem

FOLDERS = {"noise": "noise", "music": "music", "babble": "speech"}  # kind → its folder in MUSAN


@dataclass(frozen=True)
class Kind:
    """Recordings that are drawn alike.

    weight: share of the noisy utterances, beside the other kinds'. snr: in dB, uniform. voices: how many different
    recordings, at least and at most, are mixed.
    """

    name: str
    source: NoiseSource
    snr: tuple[float, float]
    weight: float = 1.0
    voices: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        mixed = f" (mixtures of {self.voices[0]} to {self.voices[1]})" if self.voices != (1, 1) else ""
        return f"{self.name} {self.snr[0]:g} to {self.snr[1]:g} dB, {len(self.source.files):,} recordings{mixed}"

    def draw(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        """`samples` [T] float32 of one recording, or a mixture of several; its level says nothing.

        AudioError when too few recordings can be read.
        """
        return self.source.draw(rng, samples)[0] if self.voices == (1, 1) else self._mixture(rng, samples)

    def _mixture(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        """A sum of different recordings, each brought to the same power over the crop; silent parts add nothing."""
        low, high = self.voices
        wanted = min(low + int(rng.random() * (high - low + 1)), len(self.source.files))
        order, moments = rng.permutation(len(self.source.files)), rng.random(len(self.source.files))
        parts = (self.source.read(self.source.files[at], moments[at], samples) for at in order)
        voices = list(itertools.islice((part for part in parts if part is not None), wanted))
        if len(voices) < low:
            raise AudioError(self.source.files[order[0]].path, f"nor can {low} recordings of {self.name} be read")
        mixture = np.zeros(samples, np.float32)
        for voice in voices:
            if (power := float(np.dot(voice, voice)) / samples) > SILENT:
                mixture += voice * np.float32(power**-0.5)
        return mixture


@dataclass(frozen=True)
class Noises:
    """The kinds of noise of a training."""

    kinds: tuple[Kind, ...]

    @classmethod
    def of(cls, settings: Augment) -> "Noises":
        """The recordings of `settings.noise`, by header; AudioError when a kind that is wanted has too few."""
        if settings.noise is None:
            raise ValueError("augment.noise is not set")
        root = musan(settings.noise)
        if root is None:
            return cls((Kind("noise", NoiseSource.of(settings.noise), settings.snr),))
        kinds = []
        for name, folder in FOLDERS.items():
            weight, snr = getattr(settings.kinds, name), getattr(settings.kinds_snr, name)
            if weight > 0:
                voices = settings.voices if name == "babble" else (1, 1)
                kinds.append(Kind(name, _enough(name, NoiseSource.of(root / folder), voices[0]), snr, weight, voices))
        return cls(tuple(kinds))

    @property
    def files(self) -> list[NoiseFile]:
        """The recordings of all kinds."""
        return [file for kind in self.kinds for file in kind.source.files]

    @property
    def problems(self) -> list[Problem]:
        """The recordings that could not be used."""
        return [problem for kind in self.kinds for problem in kind.source.problems]


def musan(folder: str | Path) -> Path | None:
    """The folder itself, or its `musan`, where that has MUSAN's three subfolders; else None."""
    for root in (Path(folder), Path(folder) / "musan"):
        if all((root / name).is_dir() for name in FOLDERS.values()):
            return root
    return None


def _enough(name: str, source: NoiseSource, fewest: int) -> NoiseSource:
    if len(source.files) < fewest:
        path = Path(source.files[0].path).parent
        there = f"{len(source.files)} usable recordings, and {name} mixes {fewest} at least"
        raise AudioError(path, f"{there}; `augment.kinds: {{{name}: 0}}` does without {name}")
    return source
