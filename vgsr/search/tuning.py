"""The Ray Tune side of a search: its trial function, its searcher and its scheduler."""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch
from ray.tune.trainable import Trainable
from ray.tune.trainable.function_trainable import wrap_function

from vgsr import config
from vgsr.search.plan import METRIC, REFERENCE, ROW, TRIAL, Base, Search, Space, Stage
from vgsr.training import cluster, launch

GENERATIONS = 5  # of NSGA-II, at least: with fewer it is a random search


def trainable(search: Search) -> type[Trainable]:
    """What Tune runs in a trial's process: `trial_function`, whose workers go with the process."""

    class Trial(wrap_function(trial_function(search))):  # type: ignore[misc]  # a class made by Ray
        def cleanup(self) -> None:
            """The process ends."""
            try:
                super().cleanup()
            finally:
                launch.leave()

    return Trial


def trial_function(search: Search) -> Callable[[dict[str, Any]], None]:
    """The function of a trial: one run on Ray Train, whose rows become the trial's results. The workers stay for the
    next trial of its process."""

    # Plain values, not `search`: unpickling it would load this package, and MLflow with it, in every trial's process.
    base, storage = search.experiment.model_dump(mode="json"), f"{search.storage}/train"
    metrics, stall = {METRIC, *search.plan.metrics}, search.settings.stall

    def trial(chosen: dict[str, Any]) -> None:
        experiment = config.build(base, config.overrides_in(chosen))
        # What Tune prunes and searches by: all are EERs, and 1 is the worst, before a first epoch and without one.
        figures: dict[str, Any] = {"epoch": 0, **dict.fromkeys(metrics, 1.0)}

        def on_row(row: dict[str, Any]) -> None:
            for metric in metrics:
                figures[metric] = row.get(metric, 1.0) if row.get("diverged") else row[metric]
            figures["epoch"] = row["epoch"]
            # The loop's row goes along as it is, apart from what Tune adds.
            tune.report({**figures, ROW: row})

        def on_started(facts: dict[str, Any]) -> None:
            figures["epoch"] = facts["epoch"]
            tune.report({**figures, ROW: {"started": facts}})

        # Tune starts a failed trial again, not Ray Train. Where a trial's process ends, its workers die a moment before
        # their controller: one that may retry can start new ones then, in a placement group of nobody's.
        try:
            launch.fit(
                experiment,
                name=chosen[TRIAL],
                storage=storage,
                on_row=on_row,
                on_started=on_started,
                retries=0,
                stall_seconds=stall,
                keep=True,
            )
        except launch.Stalled as error:  # it would stall again: an end with a reason, not a failure to be retried
            tune.report({**figures, ROW: {"epoch": figures["epoch"], "stalled": str(error)}})

    return trial


def driver_resources() -> dict[str, float]:
    """What a trial's driver takes: the resource meant for drivers where the cluster has it, else a sliver of a core."""
    if cluster.DRIVER_RESOURCE in ray.cluster_resources():
        return {"CPU": 0, cluster.DRIVER_RESOURCE: 1}
    return {"CPU": 0.01}


def searcher(search: Search, stage: Stage) -> "FixedFirst":
    """Optuna after the stage's fixed configurations: TPE over the plan's figure, NSGA-II over several."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    metrics, trials, seed = list(search.plan.metrics), search.settings.trials, search.experiment.seed
    # Spelt out: Optuna's defaults changed between its versions, and with them what the same seed suggests.
    sampler: optuna.samplers.BaseSampler
    if len(metrics) > 1:
        sampler = optuna.samplers.NSGAIISampler(
            population_size=max(4, min(50, trials // GENERATIONS)),
            mutation_prob=None,  # one parameter of each child on average
            crossover=optuna.samplers.nsgaii.UniformCrossover(swapping_prob=0.5),
            crossover_prob=0.9,
            seed=seed,
        )
    else:
        sampler = optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, n_startup_trials=max(4, trials // 4), seed=seed
        )
    return FixedFirst(
        stage,
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


class FixedFirst(OptunaSearch):
    """OptunaSearch after a stage's fixed configurations, of which Optuna is told nothing: they lie outside its space.
    Nor is it told of epochs, as its metrics are a list: only how a trial ended.

    It names trials, too. Its state is kept and restored with Tune's, so a trial that Tune had not yet written down when
    its driver was killed is suggested again by the same name, and finds its run and its checkpoints by it.
    """

    def __init__(self, stage: Stage, **settings: Any) -> None:
        super().__init__(**settings)
        self._letter, self._given = stage.name[0], 0
        self._fixed, self._fixed_ids = [dict(one) for one in stage.fixed], set[str]()

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next fixed configuration, or Optuna's suggestion."""
        if self._fixed:
            self._fixed_ids.add(trial_id)
            chosen: dict[str, Any] | None = self._fixed.pop(0)
        else:
            chosen = super().suggest(trial_id)
        if chosen is None:
            return None
        self._given += 1
        return {**chosen, TRIAL: trial_name(self._letter, self._given, chosen)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna, unless it is a fixed one."""
        if trial_id not in self._fixed_ids:
            super().on_trial_complete(trial_id, result, error)


def trial_name(letter: str, number: int, chosen: Mapping[str, Any]) -> str:
    """`s0007-3fa91c`: the stage's letter, a running number, and what the configuration is."""
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True, default=str).encode()).hexdigest()
    return f"{letter}{number:04d}-{digest[:6]}"


def is_epoch(result: Mapping[str, Any]) -> bool:
    """Whether a result of Tune, flattened or not, is that of an epoch: neither a start nor a stall."""
    row = result.get(ROW) or {key.partition("/")[2]: None for key in result if key.startswith(f"{ROW}/")}
    return not any(key.startswith(("started", "stalled")) for key in row)


class SparingReferences(ASHAScheduler):
    """ASHA that neither prunes a reference nor measures others by it, as a comparison needs it whole; all trials of
    stage 2 are such. What is no epoch it does not hear of."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Go on with a reference; ASHA's word for any other trial."""
        if REFERENCE in trial.config or not is_epoch(result):
            return TrialScheduler.CONTINUE
        return super().on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Let ASHA know, unless it is a reference or did not end with an epoch."""
        if REFERENCE not in trial.config and is_epoch(result):
            super().on_trial_complete(tune_controller, trial, result)


def scheduler(search: Search) -> SparingReferences:
    """ASHA by epoch and clean EER, whatever else is searched for.

    One epoch more than there are: Tune kills a trial that reaches `max_t` before its last lines.
    """
    epochs = search.experiment.epochs
    return SparingReferences(
        time_attr="epoch",
        metric=METRIC,
        mode="min",
        max_t=epochs + 1,
        grace_period=min(search.settings.grace, epochs),
        reduction_factor=search.settings.reduction,
    )
