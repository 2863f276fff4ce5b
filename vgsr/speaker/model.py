"""The finished model: a checkpoint in; embeddings, scores and decisions out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from scipy.special import expit
from torch import nn

from vgsr import config, students
from vgsr.config import Experiment
from vgsr.data.audio import AudioError
from vgsr.data.features import Fbank
from vgsr.evaluation import calibration, embedding, scoring
from vgsr.speaker import judging
from vgsr.speaker.recordings import Recording, RecordingsError, identity, name_of, samples
from vgsr.teachers.weights import sha256_of
from vgsr.training import checkpoint_files, state


@dataclass(frozen=True)
class Decision:
    """A verification. score: cosine; llr: natural log-likelihood ratio of same to different speaker.

    threshold: of the score; prior: probability of one speaker at which it is the Bayes threshold, at equal costs;
    accepted: whether the score reaches it; problems: what forbids a verdict all the same; remarks: what does not.
    """

    score: float
    llr: float
    threshold: float
    prior: float
    accepted: bool
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The decision in words."""
        if self.problems:
            return f"cannot judge: {'; '.join(self.problems)}"
        return "same speaker" if self.accepted else "different speakers"


@dataclass(frozen=True)
class Speaker:
    """A trained student with the front end it was trained with and the calibration of its validation trials.

    One of another toolkit (`imported`) is given our front end, and has no calibration.
    """

    folder: Path
    experiment: Experiment
    student: nn.Module
    fbank: Fbank
    facts: dict[str, Any]
    training_speakers: frozenset[str]
    device: torch.device

    @property
    def digest(self) -> str:
        """SHA-256 of the student's weights: embeddings of equal digests may be compared."""
        return sha256_of(self.folder / "student.safetensors")

    @property
    def imported(self) -> bool:
        """Whether another toolkit trained it: nobody knows on whom, and nothing has calibrated its cosines."""
        return "imported" in self.facts

    @property
    def before(self) -> str | None:
        """Where weights come from that have seen more people than `training_speakers`; None where there are none."""
        return str(self.facts["imported"]["toolkit"]) if self.imported else self.experiment.student.start

    @property
    def calibration(self) -> calibration.Calibration:
        """Scores to log-likelihood ratios, fitted on the validation trials (one utterance a side).

        CheckpointError of an imported model, which has none.
        """
        if self.imported:
            raise state.CheckpointError(
                f"{self.folder}: imported from {self.facts['imported']['toolkit']} without a calibration: its cosines "
                "can be compared (`vgsr evaluate`, `vgsr embed`), but decide nothing; a training that starts from it "
                "(student.start) makes a model that can"
            )
        return calibration.Calibration(**self.facts["calibration"])

    def embed(self, recording: Recording) -> np.ndarray:
        """Embedding `[d]` (not normalised) of a recording; AudioError when it cannot be used or is too short."""
        return self._embed(recording, "the array")

    def embed_all(self, recordings: Sequence[Recording], advance: Callable[[], None] = lambda: None) -> np.ndarray:
        """Embeddings `[N, d]` of recordings of any lengths; `advance` is called after each.

        Each is embedded whole and alone, so nothing depends on padding or company, and once however often it comes.
        RecordingsError, when all are done, for those that cannot be used; its `result` has the others.
        """
        names = [f"array {number}" for number in range(1, len(recordings) + 1)]
        vectors, problems = self._embed_each(recordings, names, advance)
        if problems:
            raise RecordingsError(problems, vectors)
        return vectors

    def score_trials(
        self, trials: Sequence[tuple[Recording, Recording]], advance: Callable[[], None] = lambda: None
    ) -> np.ndarray:
        """Cosine scores `[T]` (float64) of trials, pairs of recordings; `calibration.llr` makes ratios of them.

        `advance` is called after each recording, two a trial. RecordingsError as in `embed_all`.
        """
        names = [f"{side} array of trial {t}" for t in range(1, len(trials) + 1) for side in ("first", "second")]
        vectors, problems = self._embed_each([side for trial in trials for side in trial], names, advance)
        # Rows 2t and 2t + 1 are the sides of trial t.
        good = np.flatnonzero(np.isfinite(vectors).all(axis=1).reshape(-1, 2).all(axis=1))
        table = pa.table({"enrol": (2 * good).astype(str), "test": (2 * good + 1).astype(str)})
        scores = np.full(len(trials), np.nan)
        scores[good] = scoring.cosine_scores(vectors, [str(row) for row in range(len(vectors))], table)
        if problems:
            raise RecordingsError(problems, scores)
        return scores

    def verify(self, enrol: Recording, test: Recording, p_target: float | None = None) -> Decision:
        """Are the two recordings of one speaker?

        The threshold is that of equal error on the validation trials or, with `p_target`, the Bayes threshold of the
        calibration at that prior (equal costs). A recording too short or too noisy to judge (`judging`) is among the
        decision's problems; its score is there all the same. AudioError for one that cannot be embedded.
        """
        calibrated = self.calibration
        threshold = self.facts["eer_threshold"] if p_target is None else calibration.threshold(calibrated, p_target)
        names = [name_of(enrol, "the first array"), name_of(test, "the second array")]
        waves = [samples(side, name) for side, name in zip((enrol, test), names, strict=True)]
        score = float(self.score_trials([(waves[0], waves[1])])[0])
        conditions = dict(zip(names, map(judging.examine, waves), strict=True))
        return Decision(
            score=score,
            llr=float(calibrated.llr(score)),
            threshold=threshold,
            prior=float(expit(-calibrated.llr(threshold))),
            accepted=score >= threshold,
            problems=tuple(f"{name} has {found.problem}" for name, found in conditions.items() if found.problem),
            remarks=tuple(
                f"{name} is clipped: its loudest samples are cut off"
                for name, found in conditions.items()
                if found.clipped
            ),
        )

    def _embed(self, recording: Recording, name: str) -> np.ndarray:
        vector = embedding.embed_wave(self.student, self.fbank, samples(recording, name), self.device)
        if not (np.isfinite(vector).all() and vector.any()):
            raise AudioError(
                name_of(recording, name), "the model makes zeros or no numbers of it; it cannot be compared"
            )
        return vector

    def _embed_each(
        self, recordings: Sequence[Recording], names: Sequence[str], advance: Callable[[], None]
    ) -> tuple[np.ndarray, list[AudioError]]:
        """Embeddings `[N, d]`, NaN where a recording cannot be used, and why not; `names` are for arrays."""
        keys = [identity(recording) for recording in recordings]
        found: dict[str, np.ndarray | AudioError] = {}
        for key, recording, name in zip(keys, recordings, names, strict=True):
            if key not in found:
                try:
                    found[key] = self._embed(recording, name)
                except AudioError as error:
                    found[key] = error
            advance()
        vectors = np.full((len(keys), self.experiment.student.width), np.nan, np.float32)
        for row, key in enumerate(keys):
            if isinstance(vector := found[key], np.ndarray):
                vectors[row] = vector
        return vectors, [problem for problem in found.values() if isinstance(problem, AudioError)]


def load(folder: str | Path, device: str = "cpu") -> Speaker:
    """The model of a checkpoint folder; nothing in it is executed. CheckpointError says what is wrong with it."""
    folder = Path(folder)
    facts = state.header(folder)
    if not facts.get("calibration") and "imported" not in facts:
        raise state.CheckpointError(
            f"{folder}: written within an epoch, before any validation: it serves to resume, not to be used"
        )
    checkpoint_files.usable(folder, facts)
    experiment = config.load(checkpoint_files.file_of(folder, "experiment.yaml"))
    weights = checkpoint_files.file_of(folder, "student.safetensors")
    try:
        with torch.device("meta"):  # takes no memory, however wide the experiment says it is
            described = students.of(experiment.student)
    except (students.StudentError, RuntimeError, OverflowError) as error:
        raise state.CheckpointError(f"{folder}/experiment.yaml: no student can be built of it ({error})") from error
    experiment = experiment.model_copy(update={"student": students.resolve(experiment.student)})
    checkpoint_files.check_shapes(weights, described)
    student = students.of(experiment.student)
    checkpoint_files.load_weights(weights, student)
    return Speaker(
        folder=folder,
        experiment=experiment,
        student=student.to(device).eval(),
        fbank=Fbank(students.bins(experiment.student)).to(device),
        facts=facts,
        training_speakers=frozenset(checkpoint_files.speakers(folder)),
        device=torch.device(device),
    )
