"""Training crops: an address (epoch, position, utterance) in; waveform, noise, draws, label and a face out.

Everything random about a crop comes from generators of its own address, one stream a purpose, so a teacher, a margin or
an augmentation that is switched off leaves everything else as it was.
"""

import logging
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.utils.data import Dataset

from vgsr.config import Experiment
from vgsr.data import audio, augment, batches, features, recordings
from vgsr.data.batches import Address, Stream
from vgsr.data.catalogue import Catalogue
from vgsr.data.manifest import Manifest
from vgsr.teachers.pairing import Pairing
from vgsr.training import signals
from vgsr.training.frontend import BINS

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
        self.noise = augment.NoiseSource.of(settings.noise) if settings.noise else None
        self.rirs = augment.RirBank.of(settings.rirs) if settings.rirs else None
        for source in (self.noise, self.rirs):
            for problem in source.problems if source else ():
                log.warning("left out of augmentation: %s: %s", problem.uri, problem.reason)
        self._settings, self._seed, self._batch = settings, experiment.seed, experiment.train.batch
        self._signals = signals.of(experiment.quality.signals, utterances, pairing)
        self._samples = round(experiment.train.crop_seconds * audio.RATE)
        self._manifest, self._pairing = manifest, pairing
        self._recordings = Catalogue.of(utterances)
        labels = pc.index_in(utterances["speaker"], value_set=pa.array(speakers, pa.string()))
        self._labels = np.asarray(labels.to_numpy(), np.int32)
        self._broken: set[str] = set()

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def batches_per_epoch(self) -> int:
        """Global batches in an epoch."""
        return batches.batches_per_epoch(len(self), self._batch)

    def __getitem__(self, address: Address) -> dict[str, Any]:
        epoch, position, row = address
        wave, readable = self._wave(batches.generator(self._seed, epoch, position, Stream.CROP), row)
        rng = batches.generator(self._seed, epoch, position, Stream.AUGMENT)
        drawn = augment.draw(
            rng,
            frames=features.frames(self._samples),
            bins=BINS,
            noise_probability=self._settings.noise_probability if self.noise else 0.0,
            snr_db=self._settings.snr,
            reverb_probability=self._settings.rir_probability,
            rirs=len(self.rirs.rirs) if self.rirs else 0,
            time_width=self._settings.time_mask,
            frequency_width=self._settings.frequency_mask,
        )
        crop = {"wave": wave, "readable": readable, "draw": drawn, "label": self._labels[row]}
        if self.noise:
            noisy = math.isfinite(drawn.snr_db)
            crop["noise"] = self.noise.draw(rng, self._samples)[0] if noisy else np.zeros_like(wave)
        face = self._face(batches.generator(self._seed, epoch, position, Stream.FACE), row)
        teacher = self._pairing.direction(face) if self._pairing and face is not None else self._no_teacher()
        values = self._signals.of_crop(row, face, drawn.snr_db)
        return {**crop, "teacher": teacher, "has_face": face is not None, "signals": values}

    def collate(self, crops: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Stack crops: wave, noise `[B, T]`, draws, label `[B]`, teacher `[B, dt]`, signals `[B, S]`."""
        batch: dict[str, torch.Tensor] = {
            name: torch.from_numpy(np.stack([crop[name] for crop in crops]))
            for name in ("wave", "noise", "teacher")
            if name in crops[0]
        }
        for name in ("label", "has_face", "readable"):  # as int64: not every backend gathers booleans
            batch[name] = torch.tensor([int(crop[name]) for crop in crops])
        batch["signals"] = torch.tensor([crop["signals"] for crop in crops], dtype=torch.float32).reshape(
            len(crops), -1
        )
        batch["snr_db"], batch["rir_index"], batch["masks"] = augment.stack([crop["draw"] for crop in crops])
        return batch

    def training_signals(self) -> torch.Tensor:
        """Quality signals `[n, S]` over the training set, of clean speech: what signals are standardised by."""
        return torch.from_numpy(self._signals.table())

    def _wave(self, rng: np.random.Generator, row: int) -> tuple[np.ndarray, bool]:
        """A random crop `[T]`, repeated where the utterance is shorter; silence and False where it cannot be read."""
        uri, start, seconds = self._recordings[row]
        crop = self._samples / audio.RATE
        offset = rng.random() * max(0.0, seconds - crop)
        try:
            wave = recordings.read(self._manifest, uri, start + offset, min(crop, seconds))
        except audio.AudioError as error:
            if uri not in self._broken:
                self._broken.add(uri)
                log.warning("left out of training: %s", error)
            return np.zeros(self._samples, np.float32), False
        return np.resize(wave, self._samples), True

    def _face(self, rng: np.random.Generator, row: int) -> int | None:
        faces = self._pairing.faces[row] if self._pairing else ()
        return int(faces[int(rng.random() * len(faces))]) if len(faces) else None

    def _no_teacher(self) -> np.ndarray:
        return np.zeros(self._pairing.dimension if self._pairing else 0, np.float32)
