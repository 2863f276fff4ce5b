"""The experiment: everything that decides a run's numbers, as one frozen, typed object.

In: values that have been read (`vgsr.config.reading`). Out: an `Experiment`, its digest, its YAML and its flat keys.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from vgsr.config import training
from vgsr.config.augment import Augment
from vgsr.config.part import Part, Positive, Share, Width
from vgsr.config.training import Phase, Train

Signal = Literal[
    "face_norm",
    "face_sharpness",
    "face_detection",
    "face_pose",
    "face_agreement",
    "speech_snr",
    "speech_clipping",
    "speech_duration",
    "speech_dnsmos",
    "student_norm",
]
SIGNALS: tuple[str, ...] = get_args(Signal)


class Corpus(Part):
    manifest: str = Field(min_length=1)  # folder written by `vgsr prepare`


class Student(Part):
    """None: as the backbone was published."""

    backbone: str = "ecapa"  # a name from vgsr.students
    channels: Width | None = None
    embedding: Width | None = None
    pooling: str | None = None  # a name from vgsr.students.pooling
    start: str | None = None  # folder (or its student.safetensors) of `vgsr import`: weights that training begins with

    @property
    def width(self) -> int:
        """How many numbers an embedding has, of a student whose settings are resolved."""
        if self.embedding is None:
            raise ValueError(f"student.embedding of {self.backbone!r} is not resolved")
        return self.embedding


class Teacher(Part):
    bank: str | None = None  # Parquet written by `vgsr teach`; none = no teacher
    control: Literal["none", "shuffled", "random"] = "none"
    faces: Literal["draw", "average"] = "draw"  # one face of the session a crop, or the mean of all of them


class Margin(Part):
    kind: Literal["hinge", "softplus"] = "hinge"
    value: float = Field(0.0, ge=0)  # in the method's own unit, or a level of its running distribution
    unit: Literal["absolute", "quantile"] = "absolute"
    softness: Positive = 0.1  # of softplus, as a share of the running mean discrepancy
    schedule: Literal["constant", "warmup", "anneal"] = "constant"  # warmup: 0 → value, anneal: value → 0
    schedule_epochs: Positive | None = None  # epochs the schedule takes; none = the whole training

    @model_validator(mode="after")
    def _level(self) -> "Margin":
        if self.unit == "quantile" and self.value >= 1:
            raise ValueError(f"a quantile margin is a level in [0, 1), not {self.value:g}")
        return self


class Quality(Part):
    signals: tuple[Signal, ...] = ()
    temperature: Positive = 1.0
    floor: Share = 0.1
    combine: Literal["product", "mean"] = "product"
    apply_to: Literal["distillation", "classification", "both"] = "distillation"


class Distill(Part):
    method: str = "none"  # `none`, or a name from vgsr.distill
    weight: float | None = Field(None, ge=0)  # λ; none = the method's own default
    options: dict[str, float] = Field(default_factory=dict)
    margin: Margin = Margin()


def _one_or_several(value: Any) -> Any:
    return (value or [{}]) if isinstance(value, list | tuple) else [value]


def _as_written(distillations: tuple[Distill, ...]) -> Any:
    dumped = [one.model_dump(mode="json") for one in distillations]
    return dumped[0] if len(dumped) == 1 else dumped


# One mapping, or a list of them; dumped as it is written, so that keys of a single one stay `distill.margin.value`.
Distillations = Annotated[
    tuple[Distill, ...],
    BeforeValidator(_one_or_several),
    PlainSerializer(_as_written),
]


class Classification(Part):
    loss: Literal["aam", "am", "softmax", "sphereface2"] = "aam"
    scale: Positive = 32.0  # of cosines; softmax has none: its logits are W · embedding + b
    margin: float = Field(0.2, ge=0, lt=1.5)  # aam: radians; am: cosine; sphereface2: as its margin_type says
    margin_start: float = Field(0.0, ge=0)  # epoch at which the margin leaves 0
    margin_full: float = Field(0.0, ge=0)  # epoch at which it is reached
    margin_shape: Literal["linear", "exponential"] = "linear"  # in between; exponential rises fast, then settles
    sub_centres: Annotated[int, Field(ge=1, le=16)] = 1  # aam: centres a speaker, of which the nearest counts
    top_k: int = Field(0, ge=0)  # aam: nearest wrong speakers that get the penalty; 0 = no penalty
    top_k_penalty: float = Field(0.06, ge=0, lt=1.5)  # radians, at the full margin; it follows the margin's schedule
    margin_type: Literal["cosine", "angle"] = "cosine"  # sphereface2: C, on g(cos θ), or A, on θ in radians
    positive_weight: float = Field(0.7, gt=0, lt=1)  # sphereface2: λ, of the right class against all others
    exponent: Annotated[int, Field(ge=1, le=16)] = 3  # sphereface2: t of g

    @model_validator(mode="after")
    def _order(self) -> "Classification":
        if self.margin_full < self.margin_start:
            raise ValueError("margin_full lies before margin_start")
        return self

    @model_validator(mode="after")
    def _of_the_loss(self) -> "Classification":
        # What is left at its default is not wrong, only unused: the resolved experiment writes all of it.
        lost = [
            name
            for name, field in type(self).model_fields.items()
            if name not in _OF_THE_LOSS[self.loss] and getattr(self, name) != field.default
        ]
        if lost:
            known = ", ".join(_OF_THE_LOSS[self.loss][1:]) or "no options"
            raise ValueError(f"{' and '.join(lost)}: the loss {self.loss!r} has no such option (it has {known})")
        if not self.top_k and self.top_k_penalty != type(self).model_fields["top_k_penalty"].default:
            raise ValueError("top_k_penalty without top_k: say for how many wrong speakers")
        return self


_MARGIN = ("loss", "scale", "margin", "margin_start", "margin_full", "margin_shape")
_OF_THE_LOSS: dict[str, tuple[str, ...]] = {
    "aam": (*_MARGIN, "sub_centres", "top_k", "top_k_penalty"),
    "am": _MARGIN,
    "softmax": ("loss",),
    "sphereface2": (*_MARGIN, "margin_type", "positive_weight", "exponent"),
}


class Evaluate(Part):
    manifests: tuple[str, ...] = ()  # with test lists; empty = the training corpus' own
    trials: tuple[str, ...] = ()  # names of test lists; empty = every list but `validation`
    namesakes: bool = False  # tested speakers with names of training speakers, of another corpus, are other people
    p_target: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.01, 0.05)
    noise: str | None = None  # folder of noise recordings that augment.noise has not: validate in noise too
    snr: tuple[float, ...] = Field((0.0, 10.0, 20.0), min_length=1)  # dB; each costs a validation more


class Experiment(Part):
    """A whole experiment. Two equal experiments over manifests of one digest give the same numbers."""

    # The name of a folder too: neither `..` nor a hidden one, and nothing that looks like an option.
    name: str = Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0, le=2**63 - 1)
    corpus: Corpus
    student: Student = Student()
    teacher: Teacher = Teacher()
    distill: Distillations = (Distill(),)
    quality: Quality = Quality()
    classification: Classification = Classification()
    augment: Augment = Augment()
    train: Train = Train()
    phases: tuple[Phase, ...] = ()  # after the training, in order
    evaluate: Evaluate = Evaluate()

    @model_validator(mode="after")
    def _whole(self) -> "Experiment":
        names = [one.method for one in self.distill]
        if len(names) > 1 and ("none" in names or len(set(names)) < len(names)):
            raise ValueError(f"a list in distill names different methods, and not 'none': {', '.join(names)}")
        if self.taught and self.teacher.bank is None:
            raise ValueError("distill.method is set but teacher.bank is not: `vgsr teach` makes a bank")
        training.check(self.train, self.phases)
        if any((phase.top_k or 0) > self.classification.top_k for phase in self.phases):
            raise ValueError("a phase has a larger top_k than classification: it may only take away from the penalty")
        if self.classification.loss == "softmax" and any(phase.margin for phase in self.phases):
            raise ValueError("a phase has a margin, but the loss 'softmax' has none")
        return self

    @property
    def epochs(self) -> int:
        """Epochs of the training and of all phases together."""
        return self.train.epochs + sum(phase.epochs for phase in self.phases)

    @property
    def taught(self) -> tuple[Distill, ...]:
        """The distillations; empty without a teacher."""
        return tuple(one for one in self.distill if one.method != "none")

    @property
    def digest(self) -> str:
        """12 hex digits over the resolved values (our definition); the number of workers does not change it."""
        values = self.model_dump(mode="json")
        for key in ("workers", "cpus_per_worker", "loader_processes", "checkpoint_batches"):
            values["train"].pop(key)
        values["evaluate"].pop("namesakes")
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    def yaml(self) -> str:
        """The resolved experiment; reading it back gives an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def flat(self) -> dict[str, Any]:
        """`{"distill.margin.value": 0.2, …}` for tables and run parameters."""
        return dict(_flatten(self.model_dump(mode="json")))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            value = {str(place): item for place, item in enumerate(value)}
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
