"""The experiment: everything that decides a run's numbers, as one frozen, typed object.

In: values that have been read (`vgsr.config.reading`). Out: an `Experiment`, its digest, its YAML and its flat keys.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

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


class Part(BaseModel):
    """One section of an experiment: frozen, and every unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Corpus(Part):
    manifest: str = Field(min_length=1)  # folder written by `vgsr prepare`


class Student(Part):
    backbone: str = "ecapa"
    channels: Count = 512
    embedding: Count = 192


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
    options: dict[str, float] = {}
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
    scale: Positive = 32.0
    margin: float = Field(0.2, ge=0, lt=1.5)  # radians, AAM-softmax
    margin_start: float = Field(0.0, ge=0)  # epoch at which the margin leaves 0
    margin_full: float = Field(0.0, ge=0)  # epoch at which it is reached; linear in between

    @model_validator(mode="after")
    def _order(self) -> "Classification":
        if self.margin_full < self.margin_start:
            raise ValueError("margin_full lies before margin_start")
        return self


class Augment(Part):
    noise: str | None = None  # folder of noise recordings
    rirs: str | None = None  # folder of room impulse responses
    noise_probability: Share = 0.6
    rir_probability: Share = 0.3
    snr: tuple[float, float] = (0.0, 20.0)  # dB, uniform
    time_mask: int = Field(0, ge=0)  # frames at most
    frequency_mask: int = Field(0, ge=0)  # mel bins at most

    @model_validator(mode="after")
    def _range(self) -> "Augment":
        if self.snr[0] > self.snr[1]:
            raise ValueError(f"snr runs from {self.snr[0]:g} down to {self.snr[1]:g} dB: write the lower bound first")
        return self


class Train(Part):
    epochs: Count = 10
    batch: Count = 64  # utterances over all workers together
    crop_seconds: Positive = 2.0
    learning_rate: Positive = 1e-3
    final_learning_rate: Positive = 1e-5
    warmup_epochs: float = Field(1.0, ge=0)
    weight_decay: float = Field(1e-4, ge=0)
    gradient_clip: Positive = 5.0  # norm over all parameters
    workers: Count = 1  # Ray Train workers
    cpus_per_worker: Positive = 1.0
    gpu: bool = False
    precision: Literal["auto", "float32", "bf16"] = "auto"  # auto = bf16 on a GPU, float32 on a CPU
    loader_processes: int = Field(0, ge=0)  # 0 = a thread of the worker reads ahead
    checkpoint_batches: int = Field(0, ge=0)  # also checkpoint within an epoch, every so many batches; 0 = no


class Evaluate(Part):
    manifests: tuple[str, ...] = ()  # with test lists; empty = the training corpus' own
    trials: tuple[str, ...] = ()  # names of test lists; empty = every list but `validation`
    namesakes: bool = False  # tested speakers with names of training speakers, of another corpus, are other people
    p_target: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.01, 0.05)
    noise: str | None = None  # folder of noise recordings that augment.noise has not: validate in noise too
    snr: tuple[float, ...] = Field((0.0, 10.0, 20.0), min_length=1)  # dB; each costs a validation more


class Experiment(Part):
    """A whole experiment. Two equal experiments over manifests of one digest give the same numbers."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")
    seed: int = Field(0, ge=0)
    corpus: Corpus
    student: Student = Student()
    teacher: Teacher = Teacher()
    distill: Distillations = (Distill(),)
    quality: Quality = Quality()
    classification: Classification = Classification()
    augment: Augment = Augment()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    @model_validator(mode="after")
    def _whole(self) -> "Experiment":
        names = [one.method for one in self.distill]
        if len(names) > 1 and ("none" in names or len(set(names)) < len(names)):
            raise ValueError(f"a list in distill names different methods, and not 'none': {', '.join(names)}")
        if self.taught and self.teacher.bank is None:
            raise ValueError("distill.method is set but teacher.bank is not: `vgsr teach` makes a bank")
        if self.train.batch % self.train.workers:
            raise ValueError(
                f"train.batch ({self.train.batch}) is the global batch and must divide by "
                f"train.workers ({self.train.workers})"
            )
        return self

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
