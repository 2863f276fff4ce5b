"""The experiment: everything that decides a run's numbers, as one frozen, typed object.

In: a YAML file and `key.sub=value` overrides. Out: an `Experiment`, or a ConfigError that names the key, the file and
the nearest valid name. Nothing here touches data, devices, Ray or MLflow.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

QUALITY_SIGNALS = ("face_norm", "face_sharpness", "speech_snr")
Signal = Literal["face_norm", "face_sharpness", "speech_snr"]


class ConfigError(Exception):
    """An experiment that cannot be run as written; the text says which key and what to do."""


class Part(BaseModel):
    """One section of an experiment: frozen, and every unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


P = TypeVar("P", bound=Part)


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
    kind: Literal["hinge"] = "hinge"
    value: float = Field(0.0, ge=0)  # in the method's own unit, or a level of its running distribution
    unit: Literal["absolute", "quantile"] = "absolute"

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
    quality: Quality = Quality()


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
    p_target: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.01, 0.05)


class Experiment(Part):
    """A whole experiment. Two equal experiments over manifests of one digest give the same numbers."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")
    seed: int = Field(0, ge=0)
    corpus: Corpus
    student: Student = Student()
    teacher: Teacher = Teacher()
    distill: Distill = Distill()
    classification: Classification = Classification()
    augment: Augment = Augment()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    @model_validator(mode="after")
    def _whole(self) -> "Experiment":
        if self.distill.method != "none" and self.teacher.bank is None:
            raise ValueError("distill.method is set but teacher.bank is not: `vgsr teach` makes a bank")
        if self.train.batch % self.train.workers:
            raise ValueError(
                f"train.batch ({self.train.batch}) is the global batch and must divide by "
                f"train.workers ({self.train.workers})"
            )
        return self

    @property
    def digest(self) -> str:
        """12 hex digits over the resolved values (our definition); the number of workers does not change it."""
        values = self.model_dump(mode="json")
        for key in ("workers", "cpus_per_worker", "loader_processes", "checkpoint_batches"):
            values["train"].pop(key)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    def yaml(self) -> str:
        """The resolved experiment; reading it back gives an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def flat(self) -> dict[str, Any]:
        """`{"distill.margin.value": 0.2, …}` for tables and run parameters."""
        return dict(_flatten(self.model_dump(mode="json")))


def load(file: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """The experiment in a YAML file with `key.sub=value` overrides. Paths in it are relative to the file."""
    file = Path(file)
    try:
        values = yaml.safe_load(file.read_text())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: an experiment is a mapping of keys, this is {type(values).__name__}")
    resolve_paths(values, file.absolute().parent)
    return build(values, parse_overrides(overrides), where=str(file))


def build(
    values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, where: str = "experiment"
) -> Experiment:
    """An experiment from nested `values` and flat `overrides` (`{"train.epochs": 3}`); ConfigError names the key."""
    merged = json.loads(json.dumps(values))
    for key, value in (overrides or {}).items():
        _set(merged, key, value)
    return validated(Experiment, merged, where)


def validated(model: type[P], values: Mapping[str, Any], where: str) -> P:
    """`values` as a `model`; ConfigError with a line for every mistake in them."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem, model) for problem in error.errors()]
        raise ConfigError("\n".join(f"{where}: {line}" for line in lines)) from error


def override(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """A copy of the experiment with flat `changes` applied and everything checked again."""
    return build(experiment.model_dump(mode="json"), changes, where="override")


def overrides_in(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial's configuration changes of its experiment; keys without a dot are a search space's own names."""
    return {key: value for key, value in chosen.items() if "." in key}


def parse_overrides(arguments: Iterable[str]) -> dict[str, Any]:
    """`["train.epochs=3"]` → `{"train.epochs": 3}`; values are read as YAML."""
    changes: dict[str, Any] = {}
    for argument in arguments:
        key, sign, text = argument.partition("=")
        if not sign or not key:
            raise ConfigError(f"override {argument!r} is not of the form key.sub=value")
        try:
            changes[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"override {argument!r}: the value is not YAML") from error
    return changes


PATH_KEYS = (
    ("corpus", "manifest"),
    ("teacher", "bank"),
    ("augment", "noise"),
    ("augment", "rirs"),
    ("evaluate", "manifests"),
)


def resolve_paths(values: dict[str, Any], folder: Path) -> None:
    """Make the paths of an experiment absolute, in place: relative ones mean `folder`'s."""
    for section, key in PATH_KEYS:
        part = values.get(section)
        if not isinstance(part, dict):
            continue
        value = part.get(key)
        if isinstance(value, list):
            part[key] = [_absolute(item, folder) for item in value]
        elif value is not None:
            part[key] = _absolute(value, folder)


def _absolute(value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or "://" in value:
        return value
    return os.path.normpath(folder / Path(value).expanduser())


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about a misspelt name: `; did you mean 'x'?`, or the names there are."""
    names = sorted(names)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there is {', '.join(names) or 'none'}"


def _explain(problem: Any, model: type[Part]) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        *section, name = problem["loc"]
        return f"unknown key {key!r}{nearest(str(name), _keys_at(model, section))}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message} (it is {problem['input']!r})" if key else message


def _keys_at(model: Any, section: list[str | int]) -> list[str]:
    for name in section:
        model = model.model_fields[str(name)].annotation
    return list(model.model_fields)


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"override {key!r}: {section!r} is a value, not a section")
        values = inner
    values[name] = value


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
