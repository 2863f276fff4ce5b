"""A source-filter voice: a few numbers of a person in, speech-like sound out.

A glottal source (Rosenberg's pulse, its derivative; pitch with declination, accents and jitter; breath
noise) goes through resonances that wander from vowel to vowel, with fricatives, bursts and pauses between
(Fant 1960). The filter is applied in the short-time Fourier domain, so an utterance is a handful of array
operations. It is no text-to-speech: it carries a speaker's pitch, tract and voice quality through changing
sounds, and nothing else.
"""

from dataclasses import dataclass

import numpy as np

RATE = 16000
FRAME = 512
HOP = 256
BINS = np.fft.rfftfreq(FRAME, 1 / RATE)
WINDOW = np.sqrt(np.hanning(FRAME + 1)[:FRAME])  # applied twice, it adds up to FRAME / (2 * HOP)
# First three formants in Hz of /i e ɛ a ɑ ɔ o u ə y/ in a tract of 17.5 cm (after Peterson & Barney 1952).
VOWELS = np.array(
    [
        [270, 2290, 3010],
        [390, 2100, 2700],
        [530, 1840, 2480],
        [730, 1400, 2440],
        [700, 1090, 2440],
        [570, 840, 2410],
        [450, 800, 2450],
        [300, 870, 2240],
        [500, 1450, 2450],
        [280, 1800, 2200],
    ],
    dtype=float,
)
HIGHER = (3500.0, 4500.0)  # Hz: the formants that hardly move
FRICATIVES = (2500.0, 3800.0, 5500.0)  # Hz: where the noise of /ʃ/, /ç/, /s/ has its centre
TRACT = 17.5  # cm
HISS = 0.35  # level of fricatives and bursts against voiced sounds
ACCENTS = 4
JITTER = 0.01  # octaves
STRESS = 5.0  # dB: standard deviation of a syllable's level


@dataclass(frozen=True)
class Voice:
    """A person's voice. pitch: median in Hz; melody: size of its movement in octaves; tract: length in cm;
    colour: personal factor on each of five formants; open_quotient: share of the glottal cycle that is
    open; tilt: extra slope of the source in dB per octave; breath: noise against voice (amplitude); pace:
    syllables/s.
    """

    pitch: float
    melody: float
    tract: float
    colour: tuple[float, float, float, float, float]
    open_quotient: float
    tilt: float
    breath: float
    pace: float


@dataclass(frozen=True)
class Tracks:
    """What the mouth does, frame by frame: formants [F, 5] in Hz; voicing and hiss [F], gains;
    centre [F] of the hiss in Hz."""

    formants: np.ndarray
    voicing: np.ndarray
    hiss: np.ndarray
    centre: np.ndarray


def speak(voice: Voice, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """`[seconds * 16000]` samples (float64, RMS 1) of `voice` saying something that only `rng` knows."""
    samples = round(seconds * RATE)
    frames = samples // HOP + FRAME // HOP
    padded = (frames - 1) * HOP + FRAME
    tracks = articulate(voice, frames, rng)
    flow = glottal_flow(pitch_contour(voice, padded, rng), voice.open_quotient)
    source = np.diff(flow, prepend=0.0) * (RATE / voice.pitch / 6)
    source += voice.breath * (0.3 + flow) * rng.standard_normal(padded)
    voiced = spectra(source) * resonances(tracks.formants)
    voiced *= tracks.voicing[:, None] * 10 ** (voice.tilt * np.log2(np.maximum(BINS, 100) / 100) / 20)
    hissed = spectra(rng.standard_normal(padded)) * tracks.hiss[:, None]
    width = 900 * TRACT / voice.tract
    hissed *= np.exp(-0.5 * ((BINS - tracks.centre[:, None]) / width) ** 2)
    voiced /= np.sqrt(np.mean(np.abs(voiced) ** 2))
    hissed /= max(float(np.sqrt(np.mean(np.abs(hissed) ** 2))), 1e-9)
    wave = overlap_add(voiced + HISS * hissed)[:samples]
    return wave / np.sqrt(np.mean(wave**2))


def pitch_contour(voice: Voice, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Pitch `[samples]` in Hz: falling over the utterance, with accents and jitter, around the median."""
    time = np.arange(samples) / RATE
    octaves = np.linspace(0.5, -0.5, samples)
    for _ in range(ACCENTS):
        rate, phase, size = rng.uniform(0.4, 2.5), rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.4)
        octaves += size * np.sin(2 * np.pi * rate * time + phase)
    knots = np.arange(0, samples + HOP, HOP)
    jitter = JITTER * rng.standard_normal(len(knots))
    octaves = voice.melody * octaves + np.interp(np.arange(samples), knots, jitter)
    return voice.pitch * 2 ** (octaves - np.median(octaves))


def glottal_flow(pitch: np.ndarray, open_quotient: float) -> np.ndarray:
    """Flow `[T]` (0 to 1) through the glottis: Rosenberg's (1971) pulse, slow to open, quick to close."""
    cycle = np.cumsum(pitch / RATE) % 1.0
    opened = np.minimum(cycle / open_quotient, 1.0)
    return 6.75 * opened**2 * (1 - opened)


def articulate(voice: Voice, frames: int, rng: np.random.Generator) -> Tracks:
    """Random syllables: nothing, a fricative or a burst, then a vowel; now and then a pause."""
    targets: list[np.ndarray] = []  # formants, one row a frame
    gains: list[tuple[float, float, float]] = []  # voicing, hiss, centre of the hiss
    while len(targets) < frames:
        vowel = np.concatenate([VOWELS[rng.integers(len(VOWELS))], HIGHER])
        formants = vowel * np.array(voice.colour) * (TRACT / voice.tract) * rng.normal(1, 0.03, 5)
        centre = FRICATIVES[rng.integers(len(FRICATIVES))] * TRACT / voice.tract
        length = RATE / HOP / voice.pace * rng.uniform(0.7, 1.3)
        onset, loudness = rng.random(), 10 ** (rng.normal(0, STRESS) / 20)
        segments = [(round(0.7 * length), 1.0, 0.0)]
        if onset < 0.35:
            segments.insert(0, (round(0.3 * length), 0.0, 1.0))
        elif onset < 0.65:
            segments[:0] = [(round(0.2 * length), 0.0, 0.0), (1, 0.0, 0.8)]
        if rng.random() < 0.15:
            segments.append((round(length * rng.uniform(0.6, 1.5)), 0.0, 0.0))
        for count, voicing, hiss in segments:
            targets += [formants] * count
            gains += [(loudness * voicing, loudness * hiss, centre)] * count
    voicing, hiss, centre = np.array(gains[:frames]).T
    return Tracks(smooth(np.array(targets[:frames]), 5), smooth(voicing, 3), smooth(hiss, 3), centre)


def smooth(tracks: np.ndarray, frames: int) -> np.ndarray:
    """Each track of `[F]` or `[F, n]` averaged over `frames` (odd) neighbours with a Hann window, ends
    held."""
    window = np.hanning(frames + 2)[1:-1]
    pad = [(frames // 2, frames // 2)] + [(0, 0)] * (tracks.ndim - 1)
    views = np.lib.stride_tricks.sliding_window_view(np.pad(tracks, pad, mode="edge"), frames, axis=0)
    return views @ (window / window.sum())


def resonances(formants: np.ndarray) -> np.ndarray:
    """Transfer `[F, bins]` of a tract whose formants are `[F, n]` in Hz: a cascade of two-pole resonators."""
    damping = np.ones((len(formants), len(BINS)), complex)
    for centre in formants.T[:, :, None]:
        half = (50 + 0.04 * centre) / 2  # half the bandwidth, Hz
        peak = centre**2 + half**2
        damping *= 1 - BINS**2 / peak + 1j * (2 * half / peak * BINS)
    return 1 / damping


def spectra(wave: np.ndarray) -> np.ndarray:
    """Short-time spectra `[F, bins]` of a wave of `(F - 1) * HOP + FRAME` samples."""
    views = np.lib.stride_tricks.sliding_window_view(wave, FRAME)[::HOP]
    return np.fft.rfft(views * WINDOW, axis=1)


def overlap_add(frames: np.ndarray) -> np.ndarray:
    """The wave `[(F + FRAME / HOP - 1) * HOP]` of short-time spectra `[F, bins]`: the inverse of
    `spectra`."""
    pieces = (np.fft.irfft(frames, FRAME, axis=1) * WINDOW).reshape(len(frames), FRAME // HOP, HOP)
    wave = np.zeros((len(frames) + FRAME // HOP - 1, HOP))
    for number in range(FRAME // HOP):
        wave[number : number + len(frames)] += pieces[:, number]
    return wave.reshape(-1) * (2 * HOP / FRAME)
