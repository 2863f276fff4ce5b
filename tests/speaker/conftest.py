"""What tests of the finished model share: a checkpoint trained for a moment, one never trained, and voices."""

import numpy as np
import pytest
import torch
from torch import nn

from vgsr import config, speaker, students
from vgsr.corpora import voice
from vgsr.corpora.identities import VOICED, voice_of
from vgsr.training import loop, state
from vgsr.training.frontend import BINS
from vgsr.training.session import LocalSession


@pytest.fixture(scope="session")
def checkpoint(tiny, tmp_path_factory):
    """The best checkpoint of two epochs on the tiny corpus."""
    folder = tmp_path_factory.mktemp("run")
    values = {
        "name": "tiny",
        "corpus": {"manifest": str(tiny)},
        "student": {"channels": 8, "embedding": 16},
        "train": {"epochs": 2, "batch": 8, "crop_seconds": 0.5, "checkpoint_batches": 2},
    }
    last = loop.train(config.build(values), LocalSession(folder))
    return folder / "checkpoints" / last["best_checkpoint"]


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """A function that writes a checkpoint of random weights: `untrained(seed=1)`; its scores say nothing of people."""

    def write(seed=0):
        folder = tmp_path_factory.mktemp("untrained")
        torch.manual_seed(seed)
        student = students.build("ecapa", bins=BINS, channels=8, embedding=16)
        part = nn.Linear(1, 1)
        state.write(
            folder,
            experiment=config.build(
                {"name": "u", "corpus": {"manifest": "m"}, "student": {"channels": 8, "embedding": 16}}
            ),
            student=student,
            heads=part,
            objective=part,
            optimiser=torch.optim.SGD(part.parameters(), 0.1),
            position=state.Position(epoch=1),
            speakers=["somebody"],
            facts={
                "corpus": "none",
                "calibration": {"scale": 10.0, "offset": -5.0},
                "eer_threshold": 0.5,
                "validation": "EER 50 % on no trials",
            },
        )
        return folder

    return write


@pytest.fixture(scope="session")
def model(untrained):
    """The finished model of random weights."""
    return speaker.load(untrained())


@pytest.fixture(scope="session")
def spoken():
    """A function of a person's number, seconds and take: speech-like samples [T] with a pause, float32, in 16 bits."""

    def speak(person, seconds=2.0, take=0):
        own = voice_of(np.random.default_rng(person).standard_normal(VOICED))
        wave = voice.speak(own, seconds, np.random.default_rng([person, take]))
        wave[len(wave) // 2 : len(wave) * 3 // 4] *= 0.01
        return (np.round(0.05 * wave * 32768) / 32768).astype(np.float32)

    return speak
