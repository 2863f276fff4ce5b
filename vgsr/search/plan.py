"""What a search is: a space, its reference trials, an experiment, and the settings from the command line."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from pydantic import Field

from vgsr import config
from vgsr.config import ConfigError, Count, Experiment, Part
from vgsr.distill.methods import Method
from vgsr.home import home
from vgsr.search import demo
from vgsr.training.learner import resolve

Overrides = Mapping[str, Any]
Space = Callable[[optuna.Trial, Method], Overrides]

REFERENCE = "reference"  # key of a trial's configuration that holds the name of a reference trial
METRIC = "best_val_eer"
ROW = "row"  # key of a Tune result that holds the loop's row, apart from all that Tune adds to a result


@dataclass(frozen=True)
class Plan:
    """A page of `sweeps/`: `space(trial, method)` chooses overrides of the experiment; `references` run to the end."""

    name: str
    space: Space
    references: Mapping[str, Overrides]


class Settings(Part):
    """What a search's command line may say besides overrides of the experiment."""

    experiment: str | None = None  # YAML file; none = the demo
    trials: Count = 6  # searched configurations, references not counted
    concurrent: int = Field(0, ge=0)  # trials at once; 0 = as many as the cluster holds now
    grace: Count = 5  # epochs before a trial may be pruned
    reduction: int = Field(2, ge=2)  # one of so many trials goes on at each rung
    storage: str | None = None  # where checkpoints go; a cluster needs one that all nodes reach


@dataclass(frozen=True)
class Search:
    """A plan bound to an experiment: all that decides its trials."""

    plan: Plan
    experiment: Experiment
    settings: Settings
    search_id: str
    storage: str

    def experiment_of(self, chosen: Overrides) -> Experiment:
        """The experiment of one trial's configuration."""
        return config.override(self.experiment, config.overrides_in(chosen))

    def title(self, chosen: Overrides) -> str:
        """How a trial is called in tables and in MLflow."""
        if REFERENCE in chosen:
            return str(chosen[REFERENCE])
        return " ".join(f"{key}={_short(value)}" for key, value in chosen.items() if "." not in key)


def parse(arguments: Sequence[str]) -> tuple[Experiment, Settings]:
    """What a command line says: `experiment=FILE trials=48 train.epochs=20 …`; no argument means the demo."""
    given = config.parse_overrides(arguments)
    own = {key: value for key, value in given.items() if key in Settings.model_fields}
    changes = {key: value for key, value in given.items() if key not in own}
    for key in changes:
        if key.partition(".")[0] not in Experiment.model_fields:
            names = [*Settings.model_fields, *Experiment.model_fields]
            raise ConfigError(f"unknown setting {key!r}{config.nearest(key.partition('.')[0], names)}")
    settings = config.validated(Settings, own, "search")
    if settings.experiment is None:
        experiment = config.build(demo.experiment(), changes, where="demo")
    else:
        experiment = config.override(config.load(settings.experiment), changes)
    if experiment.distill.method == "none":
        raise ConfigError("distill.method is 'none': there is no distillation whose settings could be searched")
    experiment = resolve(experiment)
    return experiment, settings


def bind(plan: Plan, experiment: Experiment, settings: Settings, data_digest: str) -> Search:
    """A plan over an experiment and the data it points at. A change of any of them makes it another search."""
    search_id = f"{plan.name}-{experiment.name}-{_digest(plan, experiment, settings, data_digest)}"
    storage = settings.storage or str(home() / "searches")
    return Search(plan, experiment, settings, search_id, f"{storage.rstrip('/')}/{search_id}")


def _digest(plan: Plan, experiment: Experiment, settings: Settings, data_digest: str) -> str:
    parts = [
        experiment.digest,
        data_digest,
        inspect.getsource(plan.space),
        json.dumps(plan.references, sort_keys=True),
        settings.model_dump_json(exclude={"concurrent", "storage", "experiment"}),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
