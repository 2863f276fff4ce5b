"""Made-up noise for the demo: one recording each of the kinds that noisy speech is usually tested with.

In: a folder and a seed. Out: `noise.flac` (power 1/f), `babble.flac` (made-up people talking at once), `music.flac`
(chords). All of it is our definition.
"""

from pathlib import Path

import numpy as np
import soundfile

from vgsr.corpora.identities import VOICED, voice_of
from vgsr.corpora.voice import RATE, speak
from vgsr.storage import whole

SECONDS = 20
LEVEL = 0.05  # RMS of a recording
TALKERS = 6
CHORD_SECONDS = 0.5
ROOTS = (110.0, 130.8, 146.8, 164.8, 196.0)  # Hz: a pentatonic scale on A
TRIAD = (1.0, 1.25, 1.5)
OVERTONES = 6


def render(folder: str, seed: int) -> None:
    """Write the recordings that are not there yet; the same seed gives the same samples."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for number, (name, make) in enumerate({"noise": hiss, "babble": babble, "music": music}.items()):
        path = place / f"{name}.flac"
        if path.exists():
            continue
        wave = make(np.random.default_rng([seed, 20, number]))
        with whole.written(path) as staging:  # a killed run must not leave half a recording under its name
            soundfile.write(staging, LEVEL * wave / np.sqrt(np.mean(wave**2)), RATE, format="FLAC", subtype="PCM_16")


def hiss(rng: np.random.Generator) -> np.ndarray:
    """`[T]`: Gaussian noise whose power falls with 1/f above 50 Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(SECONDS * RATE))
    hertz = np.fft.rfftfreq(SECONDS * RATE, 1 / RATE)
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(hertz, 50)), SECONDS * RATE)


def babble(rng: np.random.Generator) -> np.ndarray:
    """`[T]`: people of no corpus, all talking at once."""
    return np.sum([speak(voice_of(rng.standard_normal(VOICED)), SECONDS, rng) for _ in range(TALKERS)], axis=0)


def music(rng: np.random.Generator) -> np.ndarray:
    """`[T]`: major chords of decaying harmonic tones."""
    time = np.arange(round(CHORD_SECONDS * RATE)) / RATE
    chords = []
    for root in rng.choice(ROOTS, round(SECONDS / CHORD_SECONDS)):
        tones = [root * step * overtone for step in TRIAD for overtone in range(1, OVERTONES + 1)]
        loudness = [1 / overtone for _ in TRIAD for overtone in range(1, OVERTONES + 1)]
        chords.append(np.exp(-3 * time) * (loudness @ np.sin(2 * np.pi * np.outer(tones, time))))
    return np.concatenate(chords)
