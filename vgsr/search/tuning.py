"""The Ray Tune side of a search: its trial function, its searcher and its scheduler."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from vgsr import config
from vgsr.search.plan import METRIC, REFERENCE, ROW, Base, Search, Space
from vgsr.training import launch


def trial_function(search: Search) -> Callable[[dict[str, Any]], None]:
    """The function that Tune runs for each trial: one Ray Train run, whose rows become the trial's results."""

    # Plain values, not `search`: unpickling it would load this package, and MLflow with it, in every trial's process.
    base, storage = search.experiment.model_dump(mode="json"), f"{search.storage}/train"
    metrics = {METRIC, *search.plan.metrics}

    def trial(chosen: dict[str, Any]) -> None:
        experiment = config.build(base, config.overrides_in(chosen))
        name = tune.get_context().get_trial_id()

        def on_row(row: dict[str, Any]) -> None:
            # What Tune prunes and searches by, and the loop's row as it is, apart from what Tune adds. A run that
            # diverged in its first epoch has no figures: all of them are EERs, and 1 is the worst.
            figures = {metric: row.get(metric, 1.0) if row.get("diverged") else row[metric] for metric in metrics}
            tune.report({"epoch": row["epoch"], **figures, ROW: row})

        # Tune starts a failed trial again, not Ray Train. Where Tune stops a trial, the workers die a moment before
        # their controller: one that may retry can start new ones then, in a placement group that nobody removes.
        launch.fit(experiment, name=name, storage=storage, on_row=on_row, retries=0)

    return trial


def driver_resources() -> dict[str, float]:
    """What a trial's driver takes: the resource meant for drivers where the cluster has it, else a sliver of a core."""
    if launch.DRIVER_RESOURCE in ray.cluster_resources():
        return {"CPU": 0, launch.DRIVER_RESOURCE: 1}
    return {"CPU": 0.01}


def fitting_trials(search: Search) -> int:
    """How many trials the cluster can train at once as it is now, at least 1."""
    train, have = search.experiment.train, ray.cluster_resources()
    if train.gpu:
        return max(1, int(have.get("GPU", 0)) // train.workers)
    own = driver_resources()["CPU"]
    return max(1, int(have.get("CPU", 1) / (train.workers * train.cpus_per_worker + own)))


def searcher(search: Search) -> "ReferencesFirst":
    """Optuna's TPE over the plan's space and figures, after the plan's references."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    # Spelt out: Optuna's defaults changed between its versions, and with them what the same seed suggests.
    sampler = optuna.samplers.TPESampler(
        multivariate=True,
        group=True,
        constant_liar=True,
        n_startup_trials=max(4, search.settings.trials // 4),
        seed=search.experiment.seed,
    )
    metrics = list(search.plan.metrics)
    return ReferencesFirst(
        search.references,
        space=BoundSpace(search.plan.space, search.base),
        metric=metrics,
        mode=["min"] * len(metrics),
        sampler=sampler,
    )


@dataclass(frozen=True)
class BoundSpace:
    """A plan's space over its base. A class, not a closure: the searcher's state is pickled with it."""

    space: Space | None
    base: Base

    def __call__(self, trial: optuna.Trial) -> dict[str, Any]:
        """The overrides that Optuna's trial chooses."""
        return dict(self.space(trial, self.base)) if self.space else {}


class ReferencesFirst(OptunaSearch):
    """OptunaSearch after some fixed configurations, of which Optuna is told nothing: they lie outside its space."""

    def __init__(self, references: list[dict[str, Any]], **settings: Any) -> None:
        super().__init__(**settings)
        self._references, self._reference_ids = references, set[str]()

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next reference, or Optuna's suggestion."""
        if self._references:
            self._reference_ids.add(trial_id)
            return self._references.pop(0)
        return super().suggest(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell Optuna, unless it is a reference."""
        if trial_id not in self._reference_ids:
            super().on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna, unless it is a reference."""
        if trial_id not in self._reference_ids:
            super().on_trial_complete(trial_id, result, error)


class SparingReferences(ASHAScheduler):
    """ASHA that neither prunes a reference trial nor measures others by it: a comparison needs it whole."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Go on with a reference; ASHA's word for any other trial."""
        if REFERENCE in trial.config:
            return TrialScheduler.CONTINUE
        return super().on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Let ASHA know, unless it is a reference."""
        if REFERENCE not in trial.config:
            super().on_trial_complete(tune_controller, trial, result)


def scheduler(search: Search) -> SparingReferences:
    """ASHA by epoch and clean EER, whatever else is searched for.

    One epoch more than there are: Tune kills a trial that reaches `max_t` before its last lines.
    """
    epochs = search.experiment.train.epochs
    return SparingReferences(
        time_attr="epoch",
        metric=METRIC,
        mode="min",
        max_t=epochs + 1,
        grace_period=min(search.settings.grace, epochs),
        reduction_factor=search.settings.reduction,
    )
