"""What disturbs: a folder laid out like MUSAN and a folder of impulse responses in; recordings with their digests out.

    DIR/noise   noises            DIR/speech   what babble is made of            DIR/music   music

MUSAN: Snyder, Chen & Povey, arXiv 1510.08484. What has no recordings is left out, and `left_out` has a line for it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vgsr.data.audio import AudioError, probe
from vgsr.data.augment import SUFFIXES, NoiseFile, NoiseSource, RirBank, listing, rir_files
from vgsr.data.manifest import Problem
from vgsr.evaluation import noisy
from vgsr.teachers.weights import sha256_of

NOISES = {"noise": "noise", "babble": "speech", "music": "music"}  # kind of noise → folder of its recordings
REVERBERATION = "reverberation"
# Voices that babble is the mean of, as in ExU-Net's data/musan.py (Kim et al., Interspeech 2022).
FEWEST_VOICES, MOST_VOICES = 3, 6
LAYOUT = (
    "the folder is laid out like MUSAN: .wav or .flac files in noise/, in speech/ (babble is made of it) and in music/"
)
SHOWN = 3  # refused files that a line names


class DisturbanceError(Exception):
    """Recordings that cannot disturb, or that a model was trained with; the text says what to do."""


@dataclass(frozen=True)
class Recording:
    """A file by its path in its folder, its length in seconds, and its SHA-256."""

    uri: str
    seconds: float
    sha256: str


@dataclass(frozen=True, eq=False)
class Disturbances:
    """All that disturbs: the folders `noise` and `rirs`, and `of`, the recordings of each kind, sorted by uri.

    A kind that has none is not in `of`; `left_out` has a line for it, and for files that could not be used.
    """

    noise: Path
    rirs: Path | None
    impulses: Tensor  # [R, L] float32, the responses in the order of of[REVERBERATION]; [0, 0] without
    of: Mapping[str, Sequence[Recording]]
    left_out: tuple[str, ...]

    def path(self, kind: str, uri: str) -> str:
        """Where a recording of a kind lies."""
        return str((self.rirs if kind == REVERBERATION and self.rirs else self.noise) / uri)

    def paths(self, *kinds: str) -> list[str]:
        """Where all recordings of these kinds lie."""
        return [self.path(kind, one.uri) for kind in kinds for one in self.of.get(kind, ())]


def find(
    noise: str | Path, rirs: str | Path | None, advance: Callable[[int, int], None] = lambda done, total: None
) -> Disturbances:
    """The recordings under `noise` and `rirs`; `advance(done, total)` counts those whose digest is taken.

    DisturbanceError when no kind of noise has any, AudioError when `rirs` has no usable impulse response.
    """
    noise, rirs = Path(noise), None if rirs is None else Path(rirs)
    listed: dict[str, NoiseSource] = {}
    left_out: list[str] = []
    for kind, name in NOISES.items():
        try:
            source = NoiseSource.of(noise / name)
        except AudioError:
            left_out.append(f"{kind}: no recordings under {noise / name}; its conditions are left out")
            continue
        left_out += _refused(kind, source.problems, len(source.files))
        if kind == "babble" and len(source.files) < FEWEST_VOICES:
            left_out.append(
                f"babble: {len(source.files)} recordings under {noise / name}, and it is the mean of "
                f"{FEWEST_VOICES} to {MOST_VOICES}; its conditions are left out"
            )
            continue
        listed[kind] = source
    if not listed:
        raise DisturbanceError(_nothing(noise))
    impulses = torch.zeros(0, 0)
    if rirs is None:
        left_out.append(f"{REVERBERATION}: no folder of impulse responses given (--rirs); its condition is left out")
    else:
        bank = RirBank.of(rirs)
        impulses = bank.rirs
        left_out += _refused(REVERBERATION, bank.problems, len(bank.paths))
        listed[REVERBERATION] = NoiseSource(tuple(NoiseFile(path, probe(path).seconds) for path in bank.paths), ())
    digests = _digests([file.path for source in listed.values() for file in source.files], advance)
    of = {}
    for kind, source in listed.items():
        folder = rirs if kind == REVERBERATION and rirs else noise
        uris = [Path(file.path).relative_to(folder).as_posix() for file in source.files]
        of[kind] = tuple(
            Recording(uri, file.seconds, digests[file.path]) for uri, file in zip(uris, source.files, strict=True)
        )
    return Disturbances(noise, rirs, impulses, of, tuple(left_out))


def refuse_training_noise(disturbances: Disturbances, noise: str | None, rirs: str | None, model: str) -> list[str]:
    """DisturbanceError when one of the recordings is among those that `model` was trained with, by its bytes.

    noise, rirs: the folders its experiment names (`augment.noise`, `augment.rirs`). Those that cannot be read here
    cannot be compared: a line for each comes back.
    """
    unknown = []
    for key, folder, kinds, files in (
        ("augment.noise", noise, tuple(NOISES), listing),
        ("augment.rirs", rirs, (REVERBERATION,), rir_files),
    ):
        if folder is None:
            continue
        trained = [str(path) for path in files(folder)]
        if not trained:
            unknown.append(
                f"{model}: its {key}, {folder}, cannot be read here: whether it shares recordings is not known"
            )
            continue
        for path, other in noisy.overlap(disturbances.paths(*kinds), trained):
            raise DisturbanceError(
                f"{model}: {path} is also in its {key}, as {other}: a model trained on a noise says nothing about "
                "noise it never heard; test with a folder that has none of the recordings it was trained with"
            )
    return unknown


def _digests(paths: Sequence[str], advance: Callable[[int, int], None]) -> dict[str, str]:
    digests = {}
    with ThreadPoolExecutor() as pool:
        for done, (path, digest) in enumerate(zip(paths, pool.map(sha256_of, paths), strict=True), 1):
            digests[path] = digest
            advance(done, len(paths))
    return digests


def _refused(kind: str, problems: Iterable[Problem], used: int) -> list[str]:
    refused = [f"{problem.uri}: {problem.reason}" for problem in problems]
    if not refused:
        return []
    more = ", …" if len(refused) > SHOWN else ""
    return [f"{kind}: {len(refused)} of {len(refused) + used} recordings left out: {'; '.join(refused[:SHOWN])}{more}"]


def _nothing(noise: Path) -> str:
    if not noise.is_dir():
        return f"{noise}: no such folder; {LAYOUT}"
    loose = sum(path.suffix.lower() in SUFFIXES for path in noise.iterdir())
    lying = f"; {loose} recordings lie in it directly" if loose else ""
    return f"{noise}: no recordings under noise/, speech/ or music/ in it{lying}; {LAYOUT}"
