"""One stage of a search with Ray Tune: started, or gone on with, until all its trials have ended."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune
from rich.console import Console

from vgsr import storage, tracking
from vgsr.search import capacity, tuning
from vgsr.search.attempts import Attempts
from vgsr.search.patience import insist, settle
from vgsr.search.plan import ROW, SIZE, TRIAL, Search, Stage
from vgsr.search.watch import STAGE, Bridge, Watcher, ending, log_row
from vgsr.tracking import Outbox, TrackedRun, Tracker
from vgsr.training import cluster, launch, phases

INTERRUPTED = 130  # exit status, as of a command that Ctrl-C ended


@dataclass(frozen=True)
class Tools:
    """What stages share. folder: the outbox's; tags: of every run."""

    search: Search
    tracker: Tracker
    outbox: Outbox
    folder: str
    attempts: Attempts
    tags: dict[str, str]
    console: Console


def run(tools: Tools, stage: Stage) -> dict[str, Mapping[str, Any]]:
    """Run what is left of a stage; trial → its configuration. Afterwards all of it is in MLflow."""
    search, console = tools.search, tools.console
    tools.outbox.tag(search.search_id, "", {SIZE + stage.name: str(stage.size)})
    known = runs(tools, stage)
    # A trial that the driver's state does not know would be suggested again after a kill: keep the state fresh.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "2")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    with console.status("starting Ray"):
        cluster.connect()
    with Watcher(search, stage, tools.outbox, tools.attempts, tools.tags, known, console):
        results = _tuner(search, stage, console).fit()
    if results.num_terminated + results.num_errors < stage.size:
        # Tune keeps Ctrl-C to itself and returns: what is left must not be taken for a finished search.
        console.print(f"{search.search_id} was interrupted; the same command goes on with it.", soft_wrap=True)
        raise SystemExit(INTERRUPTED)
    ended = _ended(results)
    _close_lost(tools, stage, ended)
    return {trial: metrics["config"] for trial, (metrics, _) in ended.items()}


def over(tools: Tools, stage: Stage) -> bool:
    """Whether all trials of a stage have ended, as far as MLflow knows: then nobody need start Ray to see that."""
    return sum(run.state != tracking.RUNNING for run in runs(tools, stage)) >= stage.size


def runs(tools: Tools, stage: Stage) -> list[TrackedRun]:
    """The stage's runs in MLflow, once it has all that is known of them."""
    tracker, name = tools.tracker, parent(tools)
    found = insist(lambda: tracking.trials(tracker, name), tracker, tools.console)
    return [run for run in found if run.tags.get(STAGE) == stage.name]


def parent(tools: Tools) -> str:
    """The search's own run, once MLflow has all that is known of the search."""
    settle(tools.outbox, tools.folder, tools.console)
    found = insist(lambda: tracking.search_run(tools.tracker, tools.search.search_id), tools.tracker, tools.console)
    if found is None:
        raise tracking.TrackingError(f"the run of search {tools.search.search_id} is gone from {tools.tracker.shown}")
    return found


def _tuner(search: Search, stage: Stage, console: Console) -> tune.Tuner:
    system, folder = storage.filesystem(search.storage)
    trainable = tune.with_resources(tuning.trainable(search), tuning.driver_resources())
    if _resumable(search.storage, stage):
        console.print(f"going on with {search.search_id}, stage {stage.name}", soft_wrap=True)
        return tune.Tuner.restore(
            f"{folder}/{stage.folder}", trainable, storage_filesystem=system, resume_unfinished=True
        )
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=tuning.searcher(search, stage),
            scheduler=tuning.scheduler(search),
            num_samples=stage.size,
            max_concurrent_trials=search.settings.concurrent or capacity.capacity().trials(search.experiment),
            reuse_actors=True,  # a trial's process takes seconds to start, and a fit leaves nothing in it
        ),
        run_config=tune.RunConfig(
            name=stage.folder,
            storage_path=folder,
            storage_filesystem=system,
            callbacks=[Bridge(search.search_id)],
            failure_config=tune.FailureConfig(max_failures=launch.MAX_FAILURES),
            verbose=0,
        ),
    )


def _resumable(place: str, stage: Stage) -> bool:
    """Whether Tune has a state to go on from. `can_restore` alone is true from the moment a Tuner is made, so a search
    killed in its first seconds would never start again."""
    system, folder = storage.filesystem(place)
    if not tune.Tuner.can_restore(f"{folder}/{stage.folder}", storage_filesystem=system):
        return False
    return any(name.startswith("experiment_state-") for name in storage.listing(storage.join(place, stage.folder)))


def _ended(results: tune.ResultGrid) -> dict[str, tuple[dict[str, Any], Exception | None]]:
    """Trial → its last result and its error, of all that came to a result before they ended."""
    found = [(one.metrics or {}, one.error) for one in map(results.__getitem__, range(len(results)))]
    return {metrics["config"][TRIAL]: (metrics, error) for metrics, error in found if ROW in metrics}


def _close_lost(tools: Tools, stage: Stage, ended: Mapping[str, tuple[Mapping[str, Any], Exception | None]]) -> None:
    """Close runs that MLflow takes to be running, though all trials have ended.

    The driver was killed before Tune's state knew the trial, or the outbox was lost with the machine of the driver.
    """
    search, epochs = tools.search, tools.search.experiment.epochs
    for run in runs(tools, stage):
        trial = run.tags["vgsr.trial"]
        if run.state != tracking.RUNNING:
            continue
        state, reason = tracking.FAILED, "lost when the search's driver was killed"
        if trial in ended:
            metrics, error = ended[trial]
            log_row(search, tools.outbox, trial, metrics[ROW])
            state, reason = (tracking.FAILED, str(error)) if error else ending(metrics[ROW], epochs)
        tools.attempts.ended(trial, state, phases.crops(search.experiment))
        tools.outbox.close_run(search.search_id, trial, state, reason)
