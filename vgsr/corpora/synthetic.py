"""A corpus of talking identities that do not exist: the default of the demo, small, quick and seeded.

In: a seed and sizes. Out: recordings under OUT/audio (16-bit FLAC, 16 kHz), and the corpus's own teacher
bank, `OUT/banks/synthetic.parquet` (its faces are vectors, there are no pictures). Figures from it say that
the machinery works, not how good a method is on people. The same seed and sizes give the same bytes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from vgsr.corpora import channel
from vgsr.corpora.identities import VOICED, Picture, face_map, face_of, photograph, voice_of
from vgsr.corpora.registry import CorpusError, Face, Layout, Utterance, corpus
from vgsr.corpora.scan import map_with_progress
from vgsr.corpora.voice import RATE, Voice, speak
from vgsr.data.manifest import Manifest
from vgsr.teachers import bank

MODEL = "synthetic-faces"
LENGTHS = (2.0, 3.0)  # s
EXTRA_FACES = 2  # a speaker, beside one a session


@dataclass(frozen=True)
class Script:
    """One recording to make; stream is the seed of its own random numbers."""

    uri: str
    voice: Voice
    channel: channel.Channel
    stream: tuple[int, ...]


@corpus("synthetic", validation=1 / 6, test=1 / 6, needs_root=False)
def synthetic(
    out: Path, *, seed: int = 0, speakers: int = 120, sessions: int = 3, utterances: int = 2, faceless: float = 0.0
) -> Layout:
    """Render `speakers` people with `sessions` recording sessions of `utterances` utterances each.

    faceless: the share of the speakers, in [0, 1], whose faces are left out; all else stays as it is.
    """
    for name, value in (("speakers", speakers), ("sessions", sessions), ("utterances", utterances)):
        if value < 1:
            raise CorpusError(f"synthetic corpus: {name}={value}; at least 1 is needed")
    if not 0 <= faceless <= 1:
        raise CorpusError(f"synthetic corpus: faceless={faceless:g}; a share from 0 to 1 is needed")
    unseen = set(np.random.default_rng([seed, 13]).permutation(speakers)[: round(faceless * speakers)].tolist())
    mapping = face_map(np.random.default_rng([seed, 10]))
    scripts, rows, faces, pictures = [], [], [], {}
    for person in range(speakers):
        rng = np.random.default_rng([seed, 11, person])
        latent = rng.standard_normal(VOICED)
        speaker, voice, face = f"person{person:04d}", voice_of(latent), face_of(latent, mapping, rng)
        for session in range(sessions):
            place = channel.draw(rng)
            folder = f"audio/{speaker}/session{session}"
            for number in range(utterances):
                uri = f"{folder}/{number}.flac"
                scripts.append(Script(uri, voice, place, (seed, 12, person, session, number)))
                rows.append(Utterance(f"{speaker}-{session}-{number}", speaker, f"session{session}", uri))
        taken = [f"session{session}" for session in range(sessions)] + ["extra"] * EXTRA_FACES
        for number, occasion in enumerate(taken):
            name, picture = f"{speaker}-face{number}", photograph(face, rng)
            if person not in unseen:
                faces.append(Face(name, speaker, occasion, f"bank://{MODEL}/{name}"))
                pictures[name] = picture
    map_with_progress(lambda script: record(out, script), scripts, "rendering voices")
    sizes = f"seed={seed} speakers={speakers} sessions={sessions} utterances={utterances}"
    if unseen:
        sizes += f" faceless={faceless:g}"
    return Layout(out, rows, faces, teach=partial(teach, pictures, sizes) if faces else None)


def teach(pictures: Mapping[str, Picture], sizes: str, made: Manifest) -> bank.Bank:
    """The teacher bank of the corpus: one made-up picture (by face id) for each face of its manifest.

    `sizes` is all that the pictures follow from, so its SHA-256 stands for that of a teacher's weights.
    """
    seen = [pictures[face] for face in made.faces["face_id"].to_pylist()]
    return bank.build(
        made.faces,
        np.stack([picture.embedding for picture in seen]),
        model=MODEL,
        digest=hashlib.sha256(f"{MODEL} {sizes}".encode()).hexdigest(),
        manifest_digest=made.digest,
        recipe=f"made up: {sizes}",
        sharpness=np.array([picture.sharpness for picture in seen]),
        detection=np.array([picture.detection for picture in seen]),
        pose=np.array([picture.pose for picture in seen]),
    )


def record(out: Path, script: Script) -> None:
    """Write one recording; its words, length and noise come from the script's own random stream."""
    rng = np.random.default_rng(script.stream)
    wave = channel.transmit(speak(script.voice, rng.uniform(*LENGTHS), rng), script.channel, rng)
    path = out / script.uri
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE, subtype="PCM_16")
