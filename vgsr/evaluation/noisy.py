"""Utterances disturbed for evaluation: a noise recording at exactly one SNR over the whole utterance.

Which recording an utterance gets, and from which moment on, depends on nothing but its id and the SNR: the same in
every epoch, in every run and on any number of workers, so that two figures differ by the student alone.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from vgsr.config import ConfigError
from vgsr.data.audio import AudioError
from vgsr.data.augment import SILENT, NoiseSource, add_noise
from vgsr.evaluation.embedding import Disturb

PURPOSE = "noisy validation"  # part of every draw: no other draw of ours has it
DRAWS = 100  # parts of recordings that are looked at for one that is not silent


def source(folder: str | None, training: NoiseSource | None) -> NoiseSource | None:
    """The recordings of `folder` (`evaluate.noise`); None where it is not set.

    ConfigError when one of them is among those of `training`, AudioError when there is none.
    """
    if folder is None:
        return None
    noise = NoiseSource.of(folder)
    if training is not None:
        refuse_overlap((file.path for file in noise.files), (file.path for file in training.files))
    return noise


def refuse_overlap(evaluated: Iterable[str], trained: Iterable[str]) -> None:
    """ConfigError naming the first of the files `evaluated` whose bytes are those of one of `trained`."""
    by_size = defaultdict(list)  # only files of one size need to be read
    for path in trained:
        by_size[Path(path).stat().st_size].append(path)
    for path in evaluated:
        own = _digest(path) if (alike := by_size.get(Path(path).stat().st_size)) else ""
        for other in alike or ():
            if _digest(other) == own:
                raise ConfigError(
                    f"evaluate.noise: {path} is also in augment.noise, as {other}: a student trained on a noise says "
                    "nothing about noise it never heard; take the recording out of one of the two folders"
                )


def disturbed(noise: NoiseSource, snr_db: float) -> Disturb:
    """A function that adds noise to an utterance: the powers over the whole of it have the ratio `snr_db` in dB.

    Silent speech stays as it is. AudioError when all that is drawn from the recordings is silent.
    """

    def disturb(utterance: str, wave: np.ndarray) -> np.ndarray:
        drawn = _draw(noise, utterance, snr_db, len(wave))
        speech, disturbance = (torch.from_numpy(samples).unsqueeze(0) for samples in (wave, drawn))
        return add_noise(speech, disturbance, torch.tensor([snr_db]))[0].numpy()

    return disturb


def _draw(noise: NoiseSource, utterance: str, snr_db: float, samples: int) -> np.ndarray:
    key = hashlib.sha256(f"{PURPOSE}\0{utterance}\0{snr_db:g}".encode()).digest()
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(int.from_bytes(key, "big"))))
    for _ in range(DRAWS):
        drawn, path = noise.draw(rng, samples)
        if np.square(drawn, dtype=np.float64).mean() > SILENT:
            return drawn
    raise AudioError(path, f"{DRAWS} parts of it and of the other noise recordings are silent")


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
