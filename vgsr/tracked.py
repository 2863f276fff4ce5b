"""One training on Ray Train with its run in MLflow: what `vgsr train` does."""

from rich.console import Console

from vgsr import tracking
from vgsr.config import Experiment
from vgsr.home import home
from vgsr.tracking import Outbox
from vgsr.training import cluster, launch, rows
from vgsr.training.check import Findings
from vgsr.training.local import EpochProgress
from vgsr.training.session import Row

SINGLE = "single"  # the run's name among those of its own search, which it is alone in
LEAVING = 30.0  # seconds that the end waits for MLflow


def train(
    experiment: Experiment,
    name: str,
    storage: str,
    findings: Findings,
    console: Console,
    workers: tuple[int, int] | None = None,
) -> str:
    """Train as run `name`, or go on with it; returns the best checkpoint's path.

    `workers`: fewest and most, between which the run grows and shrinks with the cluster; None: as many as the
    experiment says. An MLflow that does not answer any more holds nothing up: what it has to hear is kept on disk, and
    sent the next time the run is started.
    """
    folder = home() / "outbox" / name
    outbox = Outbox(tracking.connect(), folder)
    try:
        tags = {
            "vgsr.data": findings.manifest_digest,
            "vgsr.synthetic": str(findings.synthetic),
            "vgsr.control": experiment.teacher.control,
        }
        outbox.open(name, SINGLE, name=name, tags=tags, experiment=experiment)
        outbox.figures(name, SINGLE, findings.figures)
        last = _train(experiment, name, storage, outbox, console, workers)
        if last.get("best_checkpoint"):
            checkpoint = launch.checkpoint_path(storage, name, last["best_checkpoint"])
            outbox.tag(name, SINGLE, {"vgsr.checkpoint": checkpoint})
        outbox.close_run(name, SINGLE, tracking.FAILED if last.get("diverged") else tracking.COMPLETED)
    except Exception as error:  # interrupted is not failed: the same command goes on with it
        outbox.close_run(name, SINGLE, tracking.FAILED, str(error))
        raise
    finally:
        left, why = outbox.close(LEAVING), outbox.trouble or "it is slow"
        if left:
            kept = f"MLflow has yet to take {left:,} events ({why}); they are kept in {folder}"
            console.print(f"{kept}, and the same command sends them.", style="red", soft_wrap=True)
        if outbox.refused:
            console.print(outbox.refused, style="red", soft_wrap=True)
    return launch.checkpoint_path(storage, name, rows.best_checkpoint(last))


def _train(
    experiment: Experiment,
    name: str,
    storage: str,
    outbox: Outbox,
    console: Console,
    workers: tuple[int, int] | None,
) -> Row:
    """The last epoch's row."""
    with console.status("starting Ray"):
        cluster.connect()
    last = Row()
    with EpochProgress(experiment, console) as progress:

        def on_row(row: Row) -> None:
            last.update(row)
            progress.row(row)
            outbox.row(name, SINGLE, row)

        launch.fit(
            experiment,
            name=name,
            storage=storage,
            on_row=on_row,
            on_step=progress.step,
            on_started=progress.started,
            workers=workers,
        )
    return last
