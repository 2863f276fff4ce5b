"""The parts of a training run, made from an experiment: data, front end, student, heads, objective, optimiser."""

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vgsr import students
from vgsr.config import ConfigError, Distill, Experiment
from vgsr.data import manifest as manifests
from vgsr.data.augment import NoiseSource
from vgsr.data.manifest import Manifest
from vgsr.distill import methods
from vgsr.distill.distillation import Distillation
from vgsr.distill.margin import Margin
from vgsr.distill.objective import Objective
from vgsr.distill.quality import statistics
from vgsr.evaluation import noisy
from vgsr.students.heads import Heads
from vgsr.teachers import bank as banks
from vgsr.teachers.bank import Bank
from vgsr.teachers.coverage import Coverage
from vgsr.teachers.pairing import Pairing, pair
from vgsr.training import optimiser as optimisers
from vgsr.training import phases, signals, start
from vgsr.training.averaging import Average
from vgsr.training.compiled import compiled
from vgsr.training.crops import Crops, columns
from vgsr.training.frontend import Frontend
from vgsr.training.phases import Stretch
from vgsr.training.session import Session


@dataclass
class Learner:
    """Everything a step touches. `parallel_*` are the same modules, wrapped where there are several workers, and the
    student compiled where the experiment says so."""

    manifest: Manifest
    speakers: list[str]
    crops: Crops
    noise: NoiseSource | None  # of validation
    data_digest: str  # of the manifest, with a teacher of the bank, and of the weights to start from
    coverage: Coverage | None  # of the training set by faces; None without a teacher
    frontend: Frontend
    student: nn.Module
    heads: Heads
    parallel_student: nn.Module
    parallel_heads: nn.Module
    objective: Objective
    optimiser: torch.optim.Optimizer
    stretch: Stretch  # the phase that it is in
    average: Average
    bf16: bool
    class_margin: float = 0.0
    steps_before: int = 0  # of the phases before this one

    @property
    def batches(self) -> int:
        """In an epoch of the phase."""
        return self.crops.batches_per_epoch

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that the optimiser moves."""
        return [parameter for group in self.optimiser.param_groups for parameter in group["params"]]

    @property
    def weights(self) -> dict[str, nn.Module]:
        """The modules whose weights are averaged."""
        return {"student": self.student, "heads": self.heads}

    def enter(self, stretch: Stretch, *, fresh: bool) -> None:
        """Go on to the next phase. fresh: at its very beginning, where a new optimiser starts."""
        self.steps_before += self.batches * self.stretch.experiment.train.epochs
        self.stretch, self.crops = stretch, self.crops.during(stretch.experiment)
        self.heads.settings = stretch.experiment.classification
        if fresh:
            self.optimiser = optimisers.build(
                stretch.experiment.train, (self.student, self.heads), self.objective.parameters()
            )

    def train_mode(self) -> None:
        """Validation leaves the student in eval mode."""
        for module in (self.student, self.heads, self.objective):
            module.train()


def resolve(experiment: Experiment) -> Experiment:
    """The experiment with every default filled in that depends on another choice: λ on the method, the student's sizes
    on its backbone."""
    filled = [
        one if one.weight is not None else one.model_copy(update={"weight": methods.find(one.method).weight})
        for one in experiment.taught
    ]
    student = students.resolve(experiment.student)
    return experiment.model_copy(update={"student": student, **({"distill": tuple(filled)} if filled else {})})


def data_digest(manifest: Manifest, bank: Bank | None, started: str | None = None) -> str:
    """64 hex digits over what a run learns from: the manifest's content, the bank's origin (our definition).

    started: digest of the weights that it starts from, if there are any.
    """
    parts = [manifest.digest]
    if bank:
        parts += [bank.digest, bank.manifest_digest, bank.recipe]
    if started:
        parts.append(started)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def bank_of(experiment: Experiment) -> Bank | None:
    """The bank that teaches this experiment; None without distillation, whatever bank it names."""
    if experiment.teacher.bank is None or not experiment.taught:
        return None
    return banks.read(experiment.teacher.bank)


def training_speakers(manifest: Manifest) -> list[str]:
    """Everyone in the split `train`, sorted: a speaker's place is its class."""
    return sorted(manifest.split("train", ("speaker",))["speaker"].unique().to_pylist())


def pair_faces(experiment: Experiment, manifest: Manifest, speakers: list[str], bank: Bank) -> Pairing:
    """The faces of the training utterances, as the experiment's teacher section wants them."""
    utterances = manifest.split("train", ("speaker", "session"))
    return pair(
        utterances["speaker"],
        utterances["session"],
        speakers,
        bank,
        control=experiment.teacher.control,
        average=experiment.teacher.faces == "average",
        seed=experiment.seed,
    )


def build(experiment: Experiment, session: Session) -> Learner:
    """Build every part on the session's device; the same seed gives the same weights on every worker."""
    manifest = manifests.read(experiment.corpus.manifest)
    speakers = training_speakers(manifest)
    if not speakers:
        raise ConfigError(f"corpus.manifest: {manifest.place} has no utterance in its split 'train'")
    bank = bank_of(experiment)
    data = data_digest(manifest, bank, start.digest(experiment.student))
    pairing = pair_faces(experiment, manifest, speakers, bank) if bank else None
    del bank  # its table is large
    # A column is read again rather than kept: a million names and sessions are as large as all that a crop needs.
    crops = Crops(experiment, manifest, manifest.split("train", columns(experiment)), speakers, pairing)
    pa.default_memory_pool().release_unused()  # what they were made of
    dimension = pairing.dimension if pairing else 0
    torch.manual_seed(experiment.seed)
    student = students.of(experiment.student).to(session.device)
    start.load(experiment.student, student)
    projected = any(methods.find(one.method).needs_projector for one in experiment.taught)
    classes = len(speakers) * experiment.augment.classes
    heads = Heads(experiment.student.width, classes, experiment.classification, dimension if projected else None)
    heads = heads.to(session.device)
    objective = _objective(experiment, crops, pairing).to(session.device)
    parallel_student = _parallel(student, session)
    return Learner(
        manifest=manifest,
        speakers=speakers,
        crops=crops,
        noise=noisy.source(experiment.evaluate.noise, crops.noise),
        data_digest=data,
        coverage=pairing.coverage if pairing else None,
        frontend=Frontend(experiment, crops.rirs).to(session.device),
        student=student,
        heads=heads,
        parallel_student=compiled(parallel_student) if experiment.train.compile else parallel_student,
        parallel_heads=_parallel(heads, session),
        objective=objective,
        optimiser=optimisers.build(experiment.train, (student, heads), objective.parameters()),
        stretch=phases.stretches(experiment)[0],
        average=Average(),
        bf16=experiment.train.precision == "bf16"
        or (experiment.train.precision == "auto" and session.device.type == "cuda"),
    )


def _objective(experiment: Experiment, crops: Crops, pairing: Pairing | None) -> Objective:
    quality = experiment.quality
    measured = crops.training_signals() if signals.measured(quality.signals) else None
    return Objective(
        [distillation(one, pairing) for one in experiment.taught] if pairing else [],
        apply_to=quality.apply_to,
        statistics=None if measured is None else statistics(measured),
        student_norm="student_norm" in quality.signals,
        temperature=quality.temperature,
        floor=quality.floor,
        combine=quality.combine,
    )


def distillation(settings: Distill, pairing: Pairing) -> Distillation:
    """A distillation from these faces. MethodError or ObjectiveError where they, or its options, do not fit it."""
    margin = settings.margin
    return Distillation(
        methods.find(settings.method),
        dimension=pairing.dimension,
        weight=settings.weight,
        options=settings.options,
        margin=Margin(margin.kind, margin.value, margin.unit, margin.softness),
        centres=torch.from_numpy(pairing.centres),
    )


def _parallel(module: nn.Module, session: Session) -> nn.Module:
    if session.world == 1:
        return module
    ids = [session.device.index] if session.device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=ids)
