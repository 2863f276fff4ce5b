"""One training on Ray Train with its run in MLflow: what `vgsr train` does."""

from functools import partial

from rich.console import Console

from vgsr import tracking
from vgsr.config import Experiment
from vgsr.mailbox import Mailbox
from vgsr.training import launch, rows
from vgsr.training.check import Findings
from vgsr.training.local import EpochProgress
from vgsr.training.session import Row


def train(experiment: Experiment, name: str, storage: str, findings: Findings, console: Console) -> str:
    """Train as run `name`, or go on with it; returns the best checkpoint's path."""
    tracker = tracking.connect()
    tags = {
        "vgsr.data": findings.manifest_digest,
        "vgsr.synthetic": str(findings.synthetic),
        "vgsr.control": experiment.teacher.control,
    }
    run_id = tracking.open_run(tracker, search=name, trial="single", name=name, tags=tags, experiment=experiment)
    tracking.log_figures(tracker, run_id, findings.figures)
    with console.status("starting Ray"):
        launch.connect()
    mailbox, last = Mailbox(), Row()
    try:
        with EpochProgress(experiment, console) as progress:

            def on_row(row: Row) -> None:
                last.update(row)
                progress.row(row)
                mailbox.put(partial(tracking.log_row, tracker, run_id, row))

            launch.fit(experiment, name=name, storage=storage, on_row=on_row, on_step=progress.step)
    except BaseException as error:
        # Interrupted is not failed: the same command goes on with it.
        if isinstance(error, Exception):
            mailbox.put(partial(tracking.close_run, tracker, run_id, tracking.FAILED, str(error)))
        mailbox.close()
        raise
    if last.get("best_checkpoint"):
        checkpoint = launch.checkpoint_path(storage, name, last["best_checkpoint"])
        mailbox.put(partial(tracking.tag, tracker, run_id, {"vgsr.checkpoint": checkpoint}))
    state = tracking.FAILED if last.get("diverged") else tracking.COMPLETED
    mailbox.put(partial(tracking.close_run, tracker, run_id, state))
    for lost in mailbox.close():
        console.print(f"not written to MLflow: {lost}", style="red")
    return launch.checkpoint_path(storage, name, rows.best_checkpoint(last))
