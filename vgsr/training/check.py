"""Checking an experiment and everything it points at, in seconds and before anything is started.

In: an experiment. Out: what was found, as lines for a person; ConfigError with every mistake at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from vgsr import students
from vgsr.config import SIGNALS, ConfigError, Experiment
from vgsr.data import audio, augment, recordings
from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest
from vgsr.data.shard_index import ShardError
from vgsr.distill import methods
from vgsr.distill.distillation import ObjectiveError
from vgsr.evaluation import metrics, noisy, overlap
from vgsr.evaluation.lists import VALIDATION, test_lists
from vgsr.storage import StorageError
from vgsr.students import heads
from vgsr.teachers.bank import Bank, BankError
from vgsr.teachers.coverage import Coverage
from vgsr.teachers.pairing import PairingError
from vgsr.teachers.scores import trial_scores
from vgsr.training import course, signals, start
from vgsr.training.learner import bank_of, data_digest, distillation, pair_faces, resolve, training_speakers

# Recordings that are looked at, spread evenly over the training set.
SAMPLE = 50


@dataclass(frozen=True)
class Findings:
    """What an experiment points at.

    data_digest: of corpus, bank and weights to start from together. teacher_eer: on the validation trials; None
    without a teacher or scores.
    coverage: of the training set by faces; None without a teacher. signals: the quality signals that are known here.
    """

    lines: tuple[str, ...]
    manifest_digest: str
    data_digest: str
    synthetic: bool
    teacher_eer: float | None
    coverage: Coverage | None
    signals: tuple[str, ...]

    @property
    def figures(self) -> dict[str, float]:
        """What is known of the teacher, by its names in a run."""
        eer = {} if self.teacher_eer is None else {"teacher_eer": self.teacher_eer}
        return eer | (self.coverage.figures if self.coverage else {})


def check(experiment: Experiment) -> Findings:
    """Check all of it; ConfigError lists everything that is wrong, not just the first thing."""
    mistakes: list[str] = []

    def attempt(key: str, step: Callable[[], list[str]]) -> list[str]:
        try:
            return step()
        except (ValueError, OSError, pa.ArrowException, *_ERRORS) as error:
            mistakes.append(f"{key}: {error}")
            return []

    try:
        manifest = manifests.read(experiment.corpus.manifest)
    except (manifests.ManifestError, StorageError) as error:
        raise ConfigError(f"corpus.manifest: {error}") from error
    lines = attempt("corpus", lambda: _corpus(experiment, manifest))
    lines += attempt("student", lambda: _student(experiment))
    lines += attempt("distill", lambda: _method(experiment))
    lines += attempt("classification", lambda: _classifier(experiment, manifest))
    found = _Found()
    lines += attempt("augment", lambda: _augment(experiment, found))
    lines += attempt("evaluate", lambda: _evaluate(experiment, manifest, found))
    lines += attempt("teacher", lambda: _teacher(experiment, manifest, found))
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return Findings(
        tuple(lines),
        manifest.digest,
        data_digest(manifest, found.bank, start.digest(experiment.student)),
        manifest.synthetic,
        found.eer,
        found.coverage,
        found.signals,
    )


@dataclass
class _Found:
    """What the checks find besides their lines."""

    noise: augment.Noises | None = None  # of training
    bank: Bank | None = None
    eer: float | None = None
    coverage: Coverage | None = None
    signals: tuple[str, ...] = ()


_ERRORS = (
    manifests.ManifestError,
    StorageError,
    audio.AudioError,
    ShardError,
    BankError,
    PairingError,
    methods.MethodError,
    ObjectiveError,
    students.StudentError,
    metrics.MetricError,
    ConfigError,
)


def _corpus(experiment: Experiment, manifest: Manifest) -> list[str]:
    train = manifest.split("train", ["speaker", "uri", "seconds"])
    if not len(train):
        raise ConfigError(f"{manifest.place} has no utterance in its split 'train'")
    trials = manifest.named_trials(VALIDATION)
    if not len(trials):
        raise ConfigError(f"{manifest.place}: its list {VALIDATION!r} is empty; without it no epoch can be judged")
    for row in np.unique(np.linspace(0, len(train) - 1, min(SAMPLE, len(train))).astype(int)):
        recordings.probe(manifest, train["uri"][int(row)].as_py())
    hours = pc.sum(train["seconds"]).as_py() / 3600
    speakers = len(train["speaker"].unique())
    kind = ", SYNTHETIC" if manifest.synthetic else ""
    return [
        f"corpus {manifest.corpus} ({manifest.digest[:12]}{kind}): {len(train):,} training utterances of "
        f"{speakers:,} speakers, {hours:.2f} h, read from {manifest.location}; {len(trials):,} validation trials"
    ]


def _student(experiment: Experiment) -> list[str]:
    wanted = students.resolve(experiment.student)
    with torch.device("meta"):  # counted, not made
        model = students.of(wanted)
    count = sum(parameter.numel() for parameter in model.parameters())
    line = f"student {wanted.backbone} C={wanted.channels}: {count / 1e6:.2f} M parameters"
    start.check(wanted, model)
    if wanted.start is None:
        return [line]
    return [
        f"{line}, starting from {wanted.start}",
        "warning: those weights have learnt from speakers that are not told apart here: any who are in validation or "
        "tests make its figures look better than they are",
    ]


def _method(experiment: Experiment) -> list[str]:
    lines = []
    for one in resolve(experiment).taught:
        method, margin = methods.find(one.method), one.margin
        methods.check_options(method, one.options)
        scheduled = "" if margin.schedule == "constant" else f", {margin.schedule}"
        lines.append(
            f"distillation {method.name} ({method.unit}), λ {one.weight:g}, "
            f"{margin.kind} margin {margin.value:g} ({margin.unit}{scheduled})"
        )
    quality = experiment.quality
    if quality.signals:
        lines.append(f"quality of {', '.join(quality.signals)} weighs {quality.apply_to}")
    return lines or ["no distillation"]


def _classifier(experiment: Experiment, manifest: Manifest) -> list[str]:
    speakers, of_each = len(training_speakers(manifest)), experiment.augment.classes
    heads.check(experiment.classification, speakers * of_each)
    told = [f"classes: {speakers:,} speakers, each at {of_each} speeds"] if of_each > 1 else []
    return [*told, *course.lines(experiment, manifest.split("train", ["seconds"])["seconds"].to_numpy())]


def _augment(experiment: Experiment, found: _Found) -> list[str]:
    lines = []
    if experiment.augment.noise:
        noise = found.noise = augment.Noises.of(experiment.augment)
        lines.append(f"noise: {'; '.join(map(str, noise.kinds))}; {len(noise.problems)} left out")
    if experiment.augment.rirs:
        rirs = augment.RirBank.of(experiment.augment.rirs)
        lines.append(f"reverberation: {len(rirs.paths)} impulse responses, {len(rirs.problems)} left out")
    return lines


def _evaluate(experiment: Experiment, manifest: Manifest, found: _Found) -> list[str]:
    settings = experiment.evaluate
    counts = []
    speakers = manifest.split("train", ["speaker"])["speaker"].unique().to_pylist()
    trained = overlap.Known(manifest.corpus, speakers, "the training set")
    for tested in [manifests.read(path) for path in settings.manifests] or [manifest]:
        names = test_lists(tested, settings.trials)
        overlap.refuse(trained, tested, names, settings.namesakes)
        for name in names:
            counts.append(f"{tested.corpus}/{name} ({len(tested.named_trials(name)):,} trials)")
    lines = [f"test lists: {', '.join(counts) or 'none'}"]
    noise = noisy.source(settings.noise, found.noise)
    if noise:
        lines.append(
            f"noise of validation: {len(noise.files)} recordings, {len(noise.problems)} left out; a validation takes "
            f"{1 + len(settings.snr)} times as long"
        )
    return lines


def _teacher(experiment: Experiment, manifest: Manifest, found: _Found) -> list[str]:
    bank = bank_of(experiment)
    pairing = pair_faces(experiment, manifest, training_speakers(manifest), bank) if bank else None
    train = manifest.split("train", ("seconds", *signals.columns(SIGNALS)))
    found.bank, found.signals = bank, signals.known(train, pairing)
    # Without faces their signals are unknown, and neutral: a run to compare with keeps its settings.
    faceless = bank is None or experiment.teacher.control == "random"
    for name in experiment.quality.signals:
        if name not in found.signals and not (faceless and name.startswith("face_")):
            hint = "; `vgsr prepare --dnsmos` measures it" if name == "speech_dnsmos" else ""
            raise ConfigError(
                f"quality signal {name!r} is unknown, or the same, for every training sample{hint}; take it out "
                f"(known are: {', '.join(found.signals)})"
            )
    if bank is None or pairing is None:
        return []
    for one in resolve(experiment).taught:
        distillation(one, pairing)
    control = "" if experiment.teacher.control == "none" else f", CONTROL: {experiment.teacher.control}"
    lines = [
        f"teacher {bank.model} ({Path(experiment.teacher.bank or '').name}, {bank.dimension}-d{control}): "
        f"{pairing.coverage}"
    ]
    found.coverage = pairing.coverage
    scores = trial_scores(bank, manifest, manifest.named_trials(VALIDATION))
    left = f"{scores.same_image:,} trials of one and the same image and {scores.no_face:,} without a face left out"
    if len(set(scores.labels.tolist())) < 2:
        return [*lines, f"teacher's EER on validation: cannot be told ({left})"]
    found.eer = metrics.eer(scores.scores, scores.labels).value
    return [*lines, f"teacher's EER on validation: {100 * found.eer:.2f} % ({len(scores.labels):,} trials; {left})"]
