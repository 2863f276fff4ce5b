"""Training crops: an address (epoch, position, utterance) in; waveform, noise, draws, label and a face out.

Everything random about a crop comes from generators of its own address, one stream a purpose, so a teacher, a margin or
an augmentation that is switched off leaves everything else as it was.
"""

import copy
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.utils.data import Dataset

from vgsr import students
from vgsr.config import Experiment
from vgsr.data import audio, augment, batches, features, recordings
from vgsr.data.batches import Address, Stream
from vgsr.data.catalogue import Catalogue
from vgsr.data.manifest import Manifest
from vgsr.teachers.pairing import Pairing
from vgsr.training import signals

log = logging.getLogger(__name__)


def columns(experiment: Experiment) -> tuple[str, ...]:
    """What `Crops` looks at of the manifest's utterances."""
    return ("speaker", "uri", "start", "seconds", *signals.columns(experiment.quality.signals))


class Crops(Dataset):
    """The training utterances as crops; `pairing` None means that there is no teacher."""

    def __init__(
        self,
        experiment: Experiment,
        manifest: Manifest,
        utterances: pa.Table,
        speakers: list[str],
        pairing: Pairing | None,
    ) -> None:
        settings = experiment.augment
        self.noise = augment.Noises.of(settings) if settings.noise else None
        self.rirs = augment.RirBank.of(settings.rirs) if settings.rirs else None
        self._rooms = len(self.rirs.paths) if self.rirs else 0
        for source in (self.noise, self.rirs):
            for problem in source.problems if source else ():
                log.warning("left out of augmentation: %s: %s", problem.uri, problem.reason)
        self._seed, self._bins = experiment.seed, students.bins(experiment.student)
        self._cut(experiment)
        self._signals = signals.of(experiment.quality.signals, utterances, pairing)
        self._manifest, self._pairing = manifest, pairing
        self._recordings = Catalogue.of(utterances)
        labels = pc.index_in(utterances["speaker"], value_set=pa.array(speakers, pa.string()))
        self._labels, self._persons = np.asarray(labels.to_numpy(), np.int32), len(speakers)
        self._broken: set[str] = set()

    def _cut(self, experiment: Experiment) -> None:
        self._settings, self._batch = experiment.augment, experiment.train.batch
        self._samples = round(experiment.train.crop_seconds * audio.RATE)

    def __getstate__(self) -> dict[str, Any]:
        """A process that loads crops draws a room's number only; the bank would fill its shared memory."""
        return {**self.__dict__, "rirs": None}

    def during(self, experiment: Experiment) -> "Crops":
        """The same utterances, cut as another phase of the same experiment wants them."""
        other = copy.copy(self)
        other._cut(experiment)
        return other

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def batches_per_epoch(self) -> int:
        """Global batches in an epoch."""
        return batches.batches_per_epoch(len(self), self._batch)

    def __getitem__(self, address: Address) -> dict[str, Any]:
        epoch, position, row = address
        stream = partial(batches.generator, self._seed, epoch, position)
        settings, samples = self._settings, self._samples
        drawn, rng = augment.draw(
            stream,
            settings,
            frames=features.frames(samples),
            bins=self._bins,
            kinds=self.noise.kinds if self.noise else (),
            rirs=self._rooms,
        )
        factor = settings.speeds[drawn.speed]
        wave, readable = self._wave(stream(Stream.CROP), row, augment.needed(samples, factor))
        other = self._persons * drawn.speed if settings.speeds_as_speakers else 0
        crop = {"wave": wave, "readable": readable, "draw": drawn, "label": self._labels[row] + other}
        if self.noise:
            noisy = math.isfinite(drawn.snr_db)
            crop["noise"] = self.noise.kinds[drawn.kind].draw(rng, samples) if noisy else None
        face = self._face(stream, row)
        teacher = self._pairing.direction(face) if self._pairing and face is not None else self._no_teacher()
        values = self._signals.of_crop(row, face, drawn.snr_db)
        return {**crop, "teacher": teacher, "has_face": face is not None, "signals": values}

    def collate(self, crops: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Stack crops: noise `[B, T]`, draws, label `[B]`, teacher `[B, dt]`, signals `[B, S]`; wave `[B, W]`, of which
        a crop at another speed needs its own length (W: that of the fastest) and has silence behind it."""
        batch = {
            "wave": _rows([crop["wave"] for crop in crops], augment.needed(self._samples, max(self._settings.speeds)))
        }
        if self.noise:
            batch["noise"] = _rows([crop["noise"] for crop in crops], self._samples)
        batch["teacher"] = torch.from_numpy(np.stack([crop["teacher"] for crop in crops]))
        for name in ("label", "has_face", "readable"):  # as int64: not every backend gathers booleans
            batch[name] = torch.tensor([int(crop[name]) for crop in crops])
        batch["signals"] = torch.tensor([crop["signals"] for crop in crops], dtype=torch.float32).reshape(
            len(crops), -1
        )
        drawn = augment.stack([crop["draw"] for crop in crops])
        batch |= {"snr_db": drawn.snr_db, "rir_index": drawn.rir_index, "masks": drawn.masks}
        if len(self._settings.speeds) > 1:
            batch["speed"] = drawn.speed
        if self._settings.band_probability:
            batch["band"] = drawn.band
        return batch

    def training_signals(self) -> torch.Tensor:
        """Quality signals `[n, S]` over the training set, of clean speech: what signals are standardised by."""
        return torch.from_numpy(self._signals.table())

    def _wave(self, rng: np.random.Generator, row: int, samples: int) -> tuple[np.ndarray, bool]:
        """A random part `[samples]`, repeated where the utterance is shorter; silence and False where it cannot be
        read."""
        uri, start, seconds = self._recordings[row]
        crop = samples / audio.RATE
        offset = rng.random() * max(0.0, seconds - crop)
        try:
            wave = recordings.read(self._manifest, uri, start + offset, min(crop, seconds))
        except audio.AudioError as error:
            if uri not in self._broken:
                self._broken.add(uri)
                log.warning("left out of training: %s", error)
            return np.zeros(samples, np.float32), False
        return np.resize(wave, samples), True

    def _face(self, stream: Callable[[Stream], np.random.Generator], row: int) -> int | None:
        faces = self._pairing.faces[row] if self._pairing else ()
        return int(faces[int(stream(Stream.FACE).random() * len(faces))]) if len(faces) else None

    def _no_teacher(self) -> np.ndarray:
        return np.zeros(self._pairing.dimension if self._pairing else 0, np.float32)


def _rows(waves: list[np.ndarray | None], samples: int) -> torch.Tensor:
    """`[B, samples]` of waves with silence behind each, and of silence where there is none."""
    rows = np.zeros((len(waves), samples), np.float32)
    for row, wave in zip(rows, waves, strict=True):
        if wave is not None:
            row[: len(wave)] = wave
    return torch.from_numpy(rows)
