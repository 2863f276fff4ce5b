"""What lies between a voice and its recording: a session's own frequency response, noise and level.

In: a clean wave. Out: the wave as that session's microphone would have had it.
"""

from dataclasses import dataclass

import numpy as np

from vgsr.corpora.voice import RATE


@dataclass(frozen=True)
class Channel:
    """A recording session. response: gains in dB at `POINTS`; colour: slope of the noise spectrum (power
    1/f^colour); snr: speech over noise in dB; level: of the recording, dB below full scale (RMS)."""

    response: tuple[float, ...]
    colour: float
    snr: float
    level: float


POINTS = np.geomspace(80, RATE / 2, 9)  # Hz
PEAK = 0.98


def draw(rng: np.random.Generator, *, snr: tuple[float, float] = (10.0, 30.0), spread: float = 1.5) -> Channel:
    """A random session: SNR uniform within `snr` dB, response with a standard deviation of `spread` dB."""
    response = tuple(float(x) for x in rng.normal(0, spread, len(POINTS)))
    return Channel(response, rng.uniform(0, 1.8), rng.uniform(*snr), rng.uniform(18, 32))


def transmit(wave: np.ndarray, channel: Channel, rng: np.random.Generator) -> np.ndarray:
    """`[T]` float64 within ±0.98: `wave` through the response, with fresh noise of the channel's kind."""
    bins = np.fft.rfftfreq(len(wave), 1 / RATE)
    octave = np.log2(np.maximum(bins, POINTS[0]))
    gain = 10 ** (np.interp(octave, np.log2(POINTS), channel.response) / 20)
    speech = np.fft.irfft(np.fft.rfft(wave) * gain, len(wave))
    white = np.fft.rfft(rng.standard_normal(len(wave)))
    noise = np.fft.irfft(white * 2 ** (-channel.colour / 2 * octave), len(wave))
    mixed = speech / _rms(speech) + noise / _rms(noise) * 10 ** (-channel.snr / 20)
    heard = mixed * 10 ** (-channel.level / 20)
    return heard * min(1.0, PEAK / float(np.abs(heard).max()))


def _rms(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(wave**2)))
