"""Running a search, or going on with it: the same command starts it, resumes it, and shows it when it is done."""

import os
import sys
from collections.abc import Sequence

from ray import tune
from rich.console import Console

from vgsr import storage, tracking
from vgsr.mistakes import told
from vgsr.search import conclude, demo, table, tuning
from vgsr.search.plan import NOISY_METRIC, Base, Plan, Search, bind, parse
from vgsr.search.watch import Bridge, Watcher
from vgsr.tracking import Tracker
from vgsr.training import check, launch

STATE = "tune"  # where Tune keeps its state, under a search's place


def main(plan: Plan, arguments: Sequence[str] | None = None) -> None:
    """What a page of `sweeps/` calls. Exits with 2 and one message when the command line or the experiment is wrong."""
    # A log (a job's, a file) is not 80 columns wide as rich would take it to be. Brackets in names and paths are text.
    console = Console(width=None if sys.stdout.isatty() else 180, markup=False)
    with told(console):
        experiment, settings = parse(plan, sys.argv[1:] if arguments is None else arguments)
        if settings.experiment is None:
            demo.prepare(NOISY_METRIC in plan.metrics)
        found = check.check(experiment)
        for line in found.lines:
            console.print(line, soft_wrap=True)
        run(bind(plan, Base(experiment, found.signals), settings, found.data_digest), found, console)


def run(search: Search, found: check.Findings, console: Console) -> None:
    """Search to the end, test, and show the table."""
    tracker = tracking.connect()
    tags = {
        "vgsr.data": found.manifest_digest,
        "vgsr.synthetic": str(found.synthetic),
        "vgsr.control": search.experiment.teacher.control,
        **({"ray.job": os.environ["RAY_JOB_ID"]} if "RAY_JOB_ID" in os.environ else {}),
    }
    parent = tracking.search_run(tracker, search.search_id)
    if parent is None or tracking.state(tracker, parent) != tracking.COMPLETED:
        parent = tracking.open_run(
            tracker,
            search=search.search_id,
            trial="",
            name=tracking.marked(search.search_id, search.experiment.teacher.control),
            tags=tags,
            experiment=search.experiment,
        )
        tracking.log_figures(tracker, parent, found.figures)
        _tune(search, tracker, parent, tags, console)
        _close_lost(search, tracker, parent)
        conclude.test(search, tracker, tracking.trials(tracker, parent), console)
        tracking.close_run(tracker, parent, tracking.COMPLETED)
    else:
        console.print(
            f"{search.search_id} is finished; this is its table. A change of any setting starts a new search."
        )
    table.show(search, tracking.trials(tracker, parent), found.teacher_eer, found.coverage, console)
    console.print(
        f"runs: {tracker.shown}   (`vgsr ui` opens MLflow; `vgsr best` registers the champion)", soft_wrap=True
    )


def _tune(search: Search, tracker: Tracker, parent: str, tags: dict[str, str], console: Console) -> None:
    # A trial that the driver's state does not know would run twice after a kill: keep the state fresh.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "2")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    with console.status("starting Ray"):
        launch.connect()
    system, folder = storage.filesystem(search.storage)
    trainable = tune.with_resources(tuning.trial_function(search), tuning.driver_resources())
    if _resumable(search.storage):
        console.print(f"going on with {search.search_id}")
        tuner = tune.Tuner.restore(f"{folder}/{STATE}", trainable, storage_filesystem=system, resume_unfinished=True)
    else:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=tuning.searcher(search),
                scheduler=tuning.scheduler(search),
                num_samples=search.size,
                max_concurrent_trials=search.settings.concurrent or tuning.fitting_trials(search),
            ),
            run_config=tune.RunConfig(
                name=STATE,
                storage_path=folder,
                storage_filesystem=system,
                callbacks=[Bridge(search.search_id)],
                failure_config=tune.FailureConfig(max_failures=launch.MAX_FAILURES),
                verbose=0,
            ),
        )
    with Watcher(search, tracker, parent, tags, console):
        results = tuner.fit()
    if results.num_terminated + results.num_errors < search.size:
        # Tune keeps Ctrl-C to itself and returns: what is left must not be taken for a finished search.
        console.print(f"{search.search_id} was interrupted; the same command goes on with it.", soft_wrap=True)
        raise SystemExit(130)


def _resumable(place: str) -> bool:
    """Whether Tune has a state to go on from. `can_restore` alone is true from the moment a Tuner is made, so a search
    killed in its first seconds would never start again."""
    system, folder = storage.filesystem(place)
    if not tune.Tuner.can_restore(f"{folder}/{STATE}", storage_filesystem=system):
        return False
    return any(name.startswith("experiment_state-") for name in storage.listing(storage.join(place, STATE)))


def _close_lost(search: Search, tracker: Tracker, parent: str) -> None:
    """Runs that are still open belong to trials which Tune forgot when its driver was killed."""
    for run in tracking.trials(tracker, parent):
        if run.state == tracking.RUNNING:
            tracking.close_run(tracker, run.run_id, tracking.FAILED, "lost when the search's driver was killed")
