"""What a search is: a space, its reference trials, an experiment, the settings from the command line, its stages.

Stage 1 searches with one seed and prunes; stage 2 (`confirm`) runs its best configurations and their controls again,
whole and with other seeds. Without stage 2 (`top=0`, or no space) the references run in stage 1.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from pydantic import Field

from vgsr import config, tracking
from vgsr.config import ConfigError, Count, Experiment, Part
from vgsr.distill.methods import Method, find
from vgsr.home import home
from vgsr.search import demo
from vgsr.training import validation
from vgsr.training.learner import resolve

TRIAL = "trial"  # key of a trial's configuration that holds its name, by which its run and its folder are found again
REFERENCE = "reference"  # key of a trial's configuration that holds the name of a reference trial
ROW = "row"  # key of a Tune result that holds the loop's row, apart from all that Tune adds to a result
METRIC = "best_val_eer"  # what trials are pruned by
NOISY_METRIC = f"best_{validation.NOISY}"  # at the best epoch in quiet
SIZE = "vgsr.size."  # tag of a search, and a stage's name after it: how many trials that stage is
SEARCHED, CONFIRMED = "search", "confirm"  # the stages, as the tag `vgsr.stage` of a run names them
REHEARSED = 100  # configurations of a space that are looked at before a search starts


@dataclass(frozen=True)
class Base:
    """What a search stands on, for its space to look at."""

    experiment: Experiment
    signals: tuple[str, ...]  # quality signals that are known for its corpus and bank

    @property
    def method(self) -> Method:
        """The method of the experiment's first distillation."""
        return find(self.experiment.taught[0].method)

    def options(self, method: Method) -> dict[str, float]:
        """The experiment's options of a method; none for a method that it does not use."""
        return next((dict(one.options) for one in self.experiment.taught if one.method == method.name), {})


_DECIDES_NOTHING = {"concurrent", "storage", "experiment", "stall", "prices"}  # settings that make no other search

Overrides = Mapping[str, Any]
Space = Callable[[optuna.Trial, Base], Overrides]


@dataclass(frozen=True)
class Plan:
    """A page of `sweeps/`: `space(trial, base)` chooses overrides of the experiment; `references` run to the end.

    Without a space nothing is searched: the references are compared. metrics: figures of a run's rows that are all
    to be small; several give a Pareto front.
    """

    name: str
    space: Space | None
    references: Mapping[str, Overrides]
    metrics: tuple[str, ...] = (METRIC,)


class Settings(Part):
    """What a search's command line may say besides overrides of the experiment."""

    experiment: str | None = None  # YAML file; none = the demo
    trials: Count = 6  # searched configurations, references not counted
    top: int = Field(3, ge=0)  # configurations that stage 2 confirms; 0 = no stage 2, references run in stage 1
    seeds: Count = 3  # of each arm of stage 2, fresh ones; without stage 2 of each reference, from the experiment's on
    concurrent: int = Field(0, ge=0)  # trials at once; 0 = as many as the cluster can hold
    grace: Count = 5  # epochs before a trial may be pruned
    reduction: int = Field(2, ge=2)  # one of so many trials goes on at each rung
    storage: str | None = None  # where checkpoints go; a cluster needs one that all nodes reach
    stall: float = Field(900.0, gt=0)  # seconds without a sign of life after which a trial is ended
    prices: str | None = None  # a price list; none = cluster/prices.yaml


@dataclass(frozen=True)
class Stage:
    """One run of Tune: fixed configurations, each of which runs whole, then so many that the space chooses."""

    name: str
    fixed: tuple[Mapping[str, Any], ...]
    searched: int = 0

    @property
    def size(self) -> int:
        """How many trials it is."""
        return len(self.fixed) + self.searched

    @property
    def folder(self) -> str:
        """Where Tune keeps its state, under the search's place."""
        return "tune" if self.name == SEARCHED else f"tune-{self.name}"


@dataclass(frozen=True)
class Search:
    """A plan bound to an experiment: all that decides its trials."""

    plan: Plan
    base: Base
    settings: Settings
    search_id: str
    storage: str

    @property
    def experiment(self) -> Experiment:
        """The experiment that trials are changes of."""
        return self.base.experiment

    @property
    def confirms(self) -> bool:
        """Whether there is a stage 2."""
        return self.plan.space is not None and self.settings.top > 0

    @property
    def references(self) -> list[dict[str, Any]]:
        """The references in stage 1, seed by seed; none where stage 2 derives its controls from them."""
        if self.confirms:
            return []
        seeds = range(self.experiment.seed, self.experiment.seed + self.settings.seeds)
        return [
            {REFERENCE: name, **overrides, **({"seed": seed} if len(seeds) > 1 else {})}
            for seed in seeds
            for name, overrides in self.plan.references.items()
        ]

    @property
    def first(self) -> Stage:
        """Stage 1."""
        return Stage(SEARCHED, tuple(self.references), self.settings.trials if self.plan.space else 0)

    @property
    def size(self) -> int:
        """How many trials stage 1 is: the references in it and the searched ones."""
        return self.first.size

    def experiment_of(self, chosen: Overrides) -> Experiment:
        """The experiment of one trial's configuration."""
        return _experiment(self.base, chosen)

    def title(self, chosen: Overrides) -> str:
        """How a trial is called in tables and in MLflow. A control says so at its end."""
        own = {key: chosen[key] for key in chosen if key != TRIAL and key not in config.overrides_in(chosen)}
        if REFERENCE in chosen:
            said = chosen[REFERENCE] + (f", seed {chosen['seed']}" if "seed" in chosen else "")
        else:
            said = " ".join(filter(None, map(_said, own, own.values())))
        return tracking.marked(said or "all off", self.experiment_of(chosen).teacher.control)


def parse(plan: Plan, arguments: Sequence[str]) -> tuple[Experiment, Settings]:
    """What a command line says: `experiment=FILE trials=48 train.epochs=20 …`; no argument means the demo."""
    given = config.parse_overrides(arguments)
    own = {key: value for key, value in given.items() if key in Settings.model_fields}
    changes = {key: value for key, value in given.items() if key not in own}
    for key in changes:
        if key.partition(".")[0] not in Experiment.model_fields:
            names = [*Settings.model_fields, *Experiment.model_fields]
            raise ConfigError(f"unknown setting {key!r}{config.nearest(key.partition('.')[0], names)}")
    for key in ("trials", "top"):
        if plan.space is None and key in given:
            raise ConfigError(
                f"{plan.name} searches nothing, so {key}= has no meaning; seeds= says how often each arm runs"
            )
    if "experiment" not in own:
        own = {**demo.SETTINGS, **own}
    settings, noisy = config.validated(Settings, own, "search"), NOISY_METRIC in plan.metrics
    if settings.experiment is None:
        experiment = config.build(demo.experiment(noisy), changes, where="demo")
    else:
        experiment = config.override(config.load(settings.experiment), changes)
    if not experiment.taught:
        raise ConfigError("distill.method is 'none': there is no distillation whose settings could be searched")
    if noisy and experiment.evaluate.noise is None:
        raise ConfigError(
            f"{plan.name} also searches for a low EER in noise: set evaluate.noise to a folder of noise recordings "
            "(none of those in augment.noise); evaluate.snr says at which SNRs in dB"
        )
    return resolve(experiment), settings


def bind(plan: Plan, base: Base, settings: Settings, data_digest: str) -> Search:
    """A plan over an experiment and the data it points at. A change of any of them makes it another search.

    ConfigError when a reference, or a configuration of the space, makes no experiment.
    """
    search_id = f"{plan.name}-{base.experiment.name}-{_digest(plan, base, settings, data_digest)}"
    storage = settings.storage or str(home() / "searches")
    return Search(plan, base, settings, search_id, f"{storage.rstrip('/')}/{search_id}")


def rehearse(plan: Plan, base: Base) -> list[dict[str, Any]]:
    """The references, then random configurations of the space (the same ones every time), each found to be valid."""
    configurations = [dict(overrides) for overrides in plan.references.values()]
    if plan.space is not None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(REHEARSED):
            trial = study.ask()
            overrides = plan.space(trial, base)
            configurations.append({**trial.params, **overrides})
    for chosen in configurations:
        _experiment(base, chosen)
    return configurations


def _experiment(base: Base, chosen: Overrides) -> Experiment:
    changes, names = config.overrides_in(chosen), [one.method for one in base.experiment.distill]
    for key in changes:
        section, _, setting = key.partition(".")
        if len(names) > 1 and section == "distill" and setting and not setting[0].isdigit():
            raise ConfigError(
                f"this search sets {key}, which is a setting of one distillation, and the experiment has "
                f"{len(names)} of them ({', '.join(names)}): write one of them as distill, not a list"
            )
    return resolve(config.override(base.experiment, changes))


def _digest(plan: Plan, base: Base, settings: Settings, data_digest: str) -> str:
    # What the space does, not how it is written: whatever its functions call counts, a comment does not.
    configurations = json.dumps([plan.metrics, list(plan.references), rehearse(plan, base)], sort_keys=True)
    rounded = json.loads(configurations, parse_float=lambda text: f"{float(text):.6g}")
    parts = [
        base.experiment.digest,
        data_digest,
        json.dumps(rounded),
        settings.model_dump_json(exclude=_DECIDES_NOTHING),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _said(name: str, value: Any) -> str:
    if isinstance(value, bool):  # something that is on or off: only what is on is worth a word
        return name if value else ""
    return f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
