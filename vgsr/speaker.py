"""The finished model: a checkpoint in; embeddings, verification and figures out. Speech only: no faces, no Ray."""

import logging
from collections.abc import Callable, Sequence
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
from vgsr.data.manifest import Manifest, ManifestError
from vgsr.evaluation import calibration, embedding, protocol, scoring
from vgsr.training import state
from vgsr.training.frontend import BINS
from vgsr.training.validation import protocol_of, test_lists

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

    def evaluate(
        self,
        manifest: Manifest,
        lists: Sequence[str] = (),
        p_targets: Sequence[float] = (0.01, 0.05),
        advance: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[protocol.Result]:
        """Figures on trial lists of a manifest; without names on every list but `validation`.

        ManifestError when a trial has a speaker of the training set: a figure from it would be worthless. Speakers
        are compared by name, and only with the corpus that the model was trained on.
        """
        names = test_lists(manifest, lists)
        if not names:
            raise ManifestError(f"{manifest.path}: no trial list in it to evaluate on")
        tables = {name: manifest.named_trials(name) for name in names}
        ids = sorted({utterance for table in tables.values() for utterance in embedding.trial_utterances(table)})
        self._refuse_overlap(manifest, ids)
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            advance(done, len(ids))

        vectors = embedding.embed(self.student, self.fbank, manifest, ids, self.device, count)
        return [
            protocol.evaluate(
                scoring.cosine_scores(vectors, ids, table),
                table["label"].to_numpy(),
                protocol_of(manifest, name),
                p_targets,
            )
            for name, table in tables.items()
        ]

    def _refuse_overlap(self, manifest: Manifest, ids: list[str]) -> None:
        if manifest.corpus != self.facts["corpus"]:
            return
        wanted = set(ids)
        rows = zip(
            manifest.utterances["utterance_id"].to_pylist(), manifest.utterances["speaker"].to_pylist(), strict=True
        )
        shared = sorted({speaker for name, speaker in rows if name in wanted} & self.training_speakers)
        if shared:
            raise ManifestError(
                f"{manifest.path}: {len(shared)} speakers of its trials were in this model's training set "
                f"({', '.join(shared[:5])}); a figure from them would be worthless"
            )


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
