"""Watching a search: what Tune tells its driver goes to MLflow (in a thread) and to the terminal.

Tune pickles its callbacks, and a database connection cannot be; so the callback that Tune holds knows only the search's
name and finds the watcher of this process by it.
"""

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ray import tune
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from vgsr import tracking
from vgsr.mailbox import Mailbox
from vgsr.search.plan import REFERENCE, ROW, Search
from vgsr.tracking import Tracker
from vgsr.training import launch

_WATCHERS: dict[str, "Watcher"] = {}


class Bridge(tune.Callback):
    """What Tune holds and pickles: hands every event to the watcher of this process."""

    def __init__(self, search_id: str) -> None:
        self.search_id = search_id

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial begins, or begins again after a restart."""
        _WATCHERS[self.search_id].started(trial)

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        """An epoch of a trial has ended."""
        _WATCHERS[self.search_id].row(trial, result[ROW])

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial has ended or was pruned."""
        _WATCHERS[self.search_id].ended(trial)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial has failed for good."""
        _WATCHERS[self.search_id].failed(trial)


@dataclass
class Line:
    """A trial as the terminal shows it."""

    title: str
    state: str = "starting"
    epoch: int = 0
    eer: float | None = None
    since: float = field(default_factory=time.monotonic)
    seconds: float = 0.0


class Watcher:
    """Follows one search from the driver's process; use it as a context manager around `Tuner.fit`."""

    def __init__(self, search: Search, tracker: Tracker, parent: str, tags: dict[str, str], console: Console) -> None:
        self.search, self.tracker, self.parent, self.tags, self.console = search, tracker, parent, tags, console
        self.mailbox = Mailbox()
        self.lines: dict[str, Line] = {}
        self._runs: dict[str, str] = {}  # trial → MLflow run, filled by the mailbox's thread
        self._epochs = search.experiment.train.epochs
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._bar = self._progress.add_task("epochs", total=search.size * self._epochs)
        for run in tracking.trials(tracker, parent):  # what an earlier call of this search has finished
            if run.state != tracking.RUNNING:
                epoch, seconds = int(run.figures.get("epoch", 0)), run.figures.get("total_seconds", 0.0)
                self.lines[run.tags["vgsr.trial"]] = Line(run.name, run.state, epoch, run.best_val_eer, seconds=seconds)
                self._progress.advance(self._bar, self._epochs)
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=2)

    def __enter__(self) -> "Watcher":
        _WATCHERS[self.search.search_id] = self
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()
        lost = self.mailbox.close()
        del _WATCHERS[self.search.search_id]
        if lost:
            self.console.print(f"{len(lost)} writes to MLflow were lost, the last: {lost[-1]}", style="red")

    def started(self, trial: Any) -> None:
        """Open the trial's run (or find the one it had)."""
        line = self.lines.setdefault(trial.trial_id, Line(self.search.title(trial.config)))
        line.state = tracking.RUNNING
        self.mailbox.put(partial(self._open, trial.trial_id, line.title, dict(trial.config)))

    def row(self, trial: Any, row: dict[str, Any]) -> None:
        """Log an epoch."""
        line = self.lines[trial.trial_id]
        self._progress.advance(self._bar, max(0, row["epoch"] - line.epoch))
        line.epoch, line.eer = row["epoch"], row["best_val_eer"]
        line.seconds = time.monotonic() - line.since
        checkpoint = row.get("best_checkpoint", "")
        self.mailbox.put(partial(self._log, trial.trial_id, row, checkpoint))
        if not self.console.is_terminal:
            self.console.print(
                f"{line.title}: epoch {line.epoch}/{self._epochs}, validation EER {100 * row['val_eer']:.2f} % "
                f"(best {100 * line.eer:.2f} %)"
            )

    def ended(self, trial: Any) -> None:
        """Completed, pruned or diverged: Tune calls all of them TERMINATED."""
        last = (trial.last_result or {}).get(ROW, {})
        if last.get("diverged"):
            self._close(trial, tracking.FAILED, f"the loss was not finite in epoch {last['epoch']}")
        elif last.get("epoch", 0) >= self._epochs:
            self._close(trial, tracking.COMPLETED)
        else:
            self._close(trial, tracking.PRUNED, f"stopped by ASHA after epoch {last.get('epoch', 0)}")

    def failed(self, trial: Any) -> None:
        """Failed for good: the error's last line is the reason."""
        error = str(trial.get_error() or "unknown error").strip()
        self._close(trial, tracking.FAILED, error)

    def _close(self, trial: Any, state: str, reason: str = "") -> None:
        line = self.lines.setdefault(trial.trial_id, Line(self.search.title(trial.config)))
        line.state, line.seconds = state, time.monotonic() - line.since
        self._progress.advance(self._bar, max(0, self._epochs - line.epoch))
        self.mailbox.put(lambda: tracking.close_run(self.tracker, self._runs[trial.trial_id], state, reason))
        if not self.console.is_terminal:
            self.console.print(f"{line.title}: {state} {reason.splitlines()[-1] if reason else ''}".rstrip())

    def _open(self, trial_id: str, title: str, chosen: dict[str, Any]) -> None:
        experiment = self.search.experiment_of(chosen)
        tags = {**self.tags, tracking.PARENT: self.parent, "vgsr.control": experiment.teacher.control}
        if REFERENCE in chosen:
            tags["vgsr.reference"] = chosen[REFERENCE]
        self._runs[trial_id] = tracking.open_run(
            self.tracker, search=self.search.search_id, trial=trial_id, name=title, tags=tags, experiment=experiment
        )

    def _log(self, trial_id: str, row: dict[str, Any], checkpoint: str) -> None:
        tracking.log_row(self.tracker, self._runs[trial_id], row)
        if checkpoint:
            path = launch.checkpoint_path(f"{self.search.storage}/train", trial_id, checkpoint)
            tracking.tag(self.tracker, self._runs[trial_id], {"vgsr.checkpoint": path})

    def _picture(self) -> Group:
        table = Table("trial", "epoch", "best validation EER", "state", "seconds", title=self.search.search_id)
        for line in self.lines.values():
            eer = "" if line.eer is None else f"{100 * line.eer:.2f} %"
            running = line.state == tracking.RUNNING
            seconds = time.monotonic() - line.since if running else line.seconds
            table.add_row(line.title, f"{line.epoch}/{self._epochs}", eer, line.state, f"{seconds:.0f}")
        return Group(table, self._progress)
