"""Utterances disturbed for evaluation: a noise recording at exactly one SNR over the whole utterance.

Which recording an utterance gets, and from which moment on, depends on nothing but its id and the SNR: the same in
every epoch, in every run and on any number of workers, so that two figures differ by the student alone. The conditions
of the robustness protocol (`vgsr.evaluation.conditions`) are drawn and mixed by the same steps.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch

from vgsr.config import ConfigError
from vgsr.data.audio import RATE, AudioError, read
from vgsr.data.augment import SILENT, Noises, NoiseSource, add_noise
from vgsr.evaluation.embedding import Disturb
from vgsr.teachers.weights import sha256_of

PURPOSE = "noisy validation"  # part of every draw: no other draw of ours has it
DRAWS = 100  # parts of recordings that are looked at for one that is not silent


def source(folder: str | None, training: NoiseSource | Noises | None) -> NoiseSource | None:
    """The recordings of `folder` (`evaluate.noise`); None where it is not set.

    ConfigError when one of them is among those of `training`, AudioError when there is none.
    """
    if folder is None:
        return None
    noise = NoiseSource.of(folder)
    trained = () if training is None else (file.path for file in training.files)
    for path, other in overlap((file.path for file in noise.files), trained):
        raise ConfigError(
            f"evaluate.noise: {path} is also in augment.noise, as {other}: a student trained on a noise says "
            "nothing about noise it never heard; take the recording out of one of the two folders"
        )
    return noise


def overlap(evaluated: Iterable[str], trained: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The files `evaluated` whose bytes are those of one of `trained`, each with that one, as they are found."""
    by_size, digest = defaultdict(list), cache(sha256_of)  # only files of one size need to be read, each once
    for path in trained:
        by_size[Path(path).stat().st_size].append(path)
    for path in evaluated:
        own = sha256_of(path) if (alike := by_size.get(Path(path).stat().st_size)) else ""
        for other in alike or ():
            if digest(other) == own:
                yield path, other
                break


def generator(*of: str) -> np.random.Generator:
    """Random numbers that depend on the texts `of` alone: Philox (Salmon et al., SC 2011) keyed by their SHA-256."""
    key = hashlib.sha256("\0".join(of).encode()).digest()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(int.from_bytes(key, "big"))))


def heard(samples: np.ndarray) -> bool:
    """Whether samples [T] are more than silence: silence cannot be set to an SNR."""
    return bool(np.square(samples, dtype=np.float64).mean() > SILENT)


def at_snr(wave: np.ndarray, disturbance: np.ndarray, snr_db: float) -> np.ndarray:
    """Samples [T] with others [T] added so that the powers over all of them have the ratio `snr_db` in dB.

    Silent speech stays as it is.
    """
    speech, noise = (torch.from_numpy(samples).unsqueeze(0) for samples in (wave, disturbance))
    return add_noise(speech, noise, torch.tensor([snr_db]))[0].numpy()


def part(path: str, seconds: float, offset: float, samples: int) -> np.ndarray:
    """`samples` [T] at 16 kHz of a recording of so many seconds, from `offset` s on; it goes round at its end."""
    if offset + samples / RATE <= seconds + 0.5 / RATE:
        wave = read(path, start=offset, seconds=samples / RATE)
    else:
        wave = np.roll(read(path), -round(offset * RATE))
    # Rounding at another rate may leave a sample open.
    return np.resize(wave, samples)


def disturbed(noise: NoiseSource, snr_db: float) -> Disturb:
    """A function that adds noise to an utterance, as `at_snr` does.

    AudioError when all that is drawn from the recordings is silent.
    """
    return lambda utterance, wave: at_snr(wave, _draw(noise, utterance, snr_db, len(wave)), snr_db)


def _draw(noise: NoiseSource, utterance: str, snr_db: float, samples: int) -> np.ndarray:
    rng = generator(PURPOSE, utterance, f"{snr_db:g}")
    for _ in range(DRAWS):
        drawn, path = noise.draw(rng, samples)
        if heard(drawn):
            return drawn
    raise AudioError(path, f"{DRAWS} parts of it and of the other noise recordings are silent")
