"""The finished model: a checkpoint in; embeddings and verification out."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from vgsr import config, students
from vgsr.config import Experiment
from vgsr.data import audio
from vgsr.data.features import Fbank
from vgsr.evaluation import calibration, embedding
from vgsr.training import state
from vgsr.training.frontend import BINS

log = logging.getLogger(__name__)

# Below this, an embedding says little about the speaker; `verify` refuses (our definition, cf. 1-s test conditions).
SHORTEST_SECONDS = 0.5


@dataclass(frozen=True)
class Decision:
    """A verification. score: cosine; llr: natural log-likelihood ratio of same to different speaker."""

    score: float
    llr: float
    threshold: float  # of the score
    accepted: bool


@dataclass(frozen=True)
class Speaker:
    """A trained student with the front end it was trained with and the calibration of its validation trials."""

    folder: Path
    experiment: Experiment
    student: nn.Module
    fbank: Fbank
    facts: dict[str, Any]
    training_speakers: frozenset[str]
    device: torch.device

    def embed(self, recording: str | Path | np.ndarray) -> np.ndarray:
        """Embedding `[d]` of a file, or of samples `[T]` at 16 kHz; AudioError when it is too short."""
        wave = recording if isinstance(recording, np.ndarray) else audio.read(recording)
        if len(wave) < SHORTEST_SECONDS * audio.RATE:
            name = "the array" if isinstance(recording, np.ndarray) else recording
            raise audio.AudioError(
                name,
                f"{len(wave) / audio.RATE:.2f} s is too short to know a speaker by (at least {SHORTEST_SECONDS} s)",
            )
        return embedding.embed_wave(self.student, self.fbank, wave.astype(np.float32, copy=False), self.device)

    def verify(
        self, enrol: str | Path | np.ndarray, test: str | Path | np.ndarray, p_target: float | None = None
    ) -> Decision:
        """Are the two recordings of one speaker?

        The threshold is that of equal error on the validation trials or, with `p_target`, the Bayes threshold of the
        calibration at that prior (equal costs).
        """
        pair = [self.embed(enrol), self.embed(test)]
        score = float(np.dot(*pair) / (np.linalg.norm(pair[0]) * np.linalg.norm(pair[1])))
        fitted = calibration.Calibration(**self.facts["calibration"])
        threshold = self.facts["eer_threshold"] if p_target is None else calibration.threshold(fitted, p_target)
        return Decision(score, float(fitted.llr(score)), threshold, score >= threshold)


def load(folder: str | Path, device: str = "cpu") -> Speaker:
    """The model of a checkpoint folder; nothing in it is executed. CheckpointError says what is wrong with it."""
    folder = Path(folder)
    facts = state.header(folder)
    if "calibration" not in facts:
        raise state.CheckpointError(
            f"{folder}: written within an epoch, before any validation: it serves to resume, not to be used"
        )
    experiment = config.load(folder / "experiment.yaml")
    student = students.build(
        experiment.student.backbone,
        bins=BINS,
        channels=experiment.student.channels,
        embedding=experiment.student.embedding,
    )
    student.load_state_dict(load_file(folder / "student.safetensors"))
    return Speaker(
        folder=folder,
        experiment=experiment,
        student=student.to(device).eval(),
        fbank=Fbank(BINS).to(device),
        facts=facts,
        training_speakers=frozenset((folder / "speakers.txt").read_text(encoding="utf-8").split("\n")) - {""},
        device=torch.device(device),
    )
