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
from vgsr.training import signals
from vgsr.training.crops import Crops, columns
from vgsr.training.frontend import BINS, Frontend
from vgsr.training.session import Session


@dataclass
class Learner:
    """Everything a step touches. `parallel_*` are the same modules, wrapped where there are several workers."""

    manifest: Manifest
    speakers: list[str]
    crops: Crops
    noise: NoiseSource | None  # of validation
    data_digest: str  # of the manifest and, with a teacher, of the bank
    coverage: Coverage | None  # of the training set by faces; None without a teacher
    frontend: Frontend
    student: nn.Module
    heads: nn.Module
    parallel_student: nn.Module
    parallel_heads: nn.Module
    objective: Objective
    optimiser: torch.optim.Optimizer
    parameters: list[nn.Parameter]
    batches: int
    bf16: bool
    aam_margin: float = 0.0

    def train_mode(self) -> None:
        """Validation leaves the student in eval mode."""
        for module in (self.student, self.heads, self.objective):
            module.train()


def resolve(experiment: Experiment) -> Experiment:
    """The experiment with every default filled in that depends on another choice: λ on the method."""
    filled = [
        one if one.weight is not None else one.model_copy(update={"weight": methods.find(one.method).weight})
        for one in experiment.taught
    ]
    return experiment.model_copy(update={"distill": tuple(filled)}) if filled else experiment


def data_digest(manifest: Manifest, bank: Bank | None) -> str:
    """64 hex digits over what a run learns from: the manifest's content, the bank's origin (our definition)."""
    parts = [manifest.digest]
    if bank:
        parts += [bank.digest, bank.manifest_digest, bank.recipe]
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
    data, pairing = data_digest(manifest, bank), pair_faces(experiment, manifest, speakers, bank) if bank else None
    del bank  # its table is large
    # A column is read again rather than kept: a million names and sessions are as large as all that a crop needs.
    crops = Crops(experiment, manifest, manifest.split("train", columns(experiment)), speakers, pairing)
    pa.default_memory_pool().release_unused()  # what they were made of
    dimension = pairing.dimension if pairing else 0
    torch.manual_seed(experiment.seed)
    student = students.build(
        experiment.student.backbone,
        bins=BINS,
        channels=experiment.student.channels,
        embedding=experiment.student.embedding,
    ).to(session.device)
    projected = any(methods.find(one.method).needs_projector for one in experiment.taught)
    heads = Heads(
        experiment.student.embedding, len(speakers), experiment.classification.scale, dimension if projected else None
    ).to(session.device)
    objective = _objective(experiment, crops, pairing).to(session.device)
    decayed = [p for module in (student, heads) for p in module.parameters() if p.dim() > 1]
    free = [p for module in (student, heads) for p in module.parameters() if p.dim() <= 1]
    free += list(objective.parameters())
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": experiment.train.weight_decay}, {"params": free, "weight_decay": 0.0}],
        lr=experiment.train.learning_rate,
    )
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
        parallel_student=_parallel(student, session),
        parallel_heads=_parallel(heads, session),
        objective=objective,
        optimiser=optimiser,
        parameters=decayed + free,
        batches=crops.batches_per_epoch,
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
