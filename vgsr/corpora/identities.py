"""Made-up people: one seed in, for each a voice and a face, linked as far as faces and voices really are.

A person is `VOICED` independent standard normal latents, which set the voice. The face is a unit vector of
three parts: one that is a fixed random map of the same latents (what face and voice share), one that is the
person's alone (what no voice can tell), and noise anew for each picture.
Pictures differ in quality: a poor one has more noise, a shorter vector, less sharpness, a lower detector
score and a face that is turned away. All of this is our definition.
"""

from dataclasses import dataclass

import numpy as np

from vgsr.corpora.voice import TRACT, Voice

VOICED = 10
DIMENSION = 64
SHARED = 0.6  # share of a clean face's variance that the voice's latents explain
NOISE = 0.7  # median length of the noise in a picture, against a face of length 1


@dataclass(frozen=True)
class Picture:
    """One face picture as a teacher sees it: embedding [64] float32, sharpness, detector score and pose (0 to 1)."""

    embedding: np.ndarray
    sharpness: float
    detection: float
    pose: float


def voice_of(latent: np.ndarray) -> Voice:
    """The voice of a person's latents `[VOICED]`; size (latent 0) moves pitch and tract together."""
    size, pitch, tract, melody, glottis, breath, pace = (float(x) for x in np.clip(latent[:7], -2.5, 2.5))
    colour = 1 + 0.08 * np.clip(np.concatenate([latent[7:10], latent[5:7]]), -2.5, 2.5)
    return Voice(
        pitch=float(155 * 2 ** (-0.35 * size + 0.2 * pitch)),
        melody=float(0.22 * 2 ** (0.4 * melody)),
        tract=float(TRACT * 0.93 * (1 + 0.08 * size + 0.05 * tract)),
        colour=tuple(float(x) for x in colour),  # type: ignore[arg-type]  # five of them
        open_quotient=float(0.6 + 0.08 * glottis),
        tilt=float(-3 - 3 * glottis),
        breath=float(0.02 * 2 ** (1.2 * breath)),
        pace=float(4.5 * 2 ** (0.25 * pace)),
    )


def face_map(rng: np.random.Generator) -> np.ndarray:
    """`[VOICED, DIMENSION]`: the direction in face space of each voice latent, unit length."""
    directions = rng.standard_normal((VOICED, DIMENSION))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def face_of(latent: np.ndarray, mapping: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The clean unit face `[DIMENSION]` of a person; `rng` draws the private part: call it once a person."""
    shared = latent @ mapping / np.sqrt(VOICED)
    private = rng.standard_normal(DIMENSION) / np.sqrt(DIMENSION)
    face = np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * private
    return face / np.linalg.norm(face)


def photograph(face: np.ndarray, rng: np.random.Generator) -> Picture:
    """A picture of a clean unit face: noise of random size, and quality figures that follow it loosely."""
    noise = float(np.clip(np.exp(rng.normal(np.log(NOISE), 0.45)), 0.2, 2.0))
    seen = face + noise * rng.standard_normal(DIMENSION) / np.sqrt(DIMENSION)
    clarity = 1 / (1 + noise**2)
    norm = 12 * np.sqrt(clarity) * np.exp(rng.normal(0, 0.06))
    embedding = (seen / np.linalg.norm(seen) * norm).astype(np.float32)
    sharpness = 400 * clarity * np.exp(rng.normal(0, 0.35))
    detection = np.clip(0.55 + 0.45 * clarity + rng.normal(0, 0.03), 0.3, 1.0)
    # From a stream of its own, so that the noise of the next pictures does not depend on this one's pose.
    turned = 0.5 * noise * rng.spawn(1)[0].normal(1, 0.3)  # radians
    return Picture(embedding, float(sharpness), float(detection), float(np.clip(np.cos(turned), 0.0, 1.0)))
