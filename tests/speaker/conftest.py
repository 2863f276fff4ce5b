"""What tests of the finished model share: one of random weights, and voices."""

import numpy as np
import pytest

from vgsr import speaker
from vgsr.corpora import voice
from vgsr.corpora.identities import VOICED, voice_of


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
