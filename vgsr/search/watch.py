"""Watching a stage: what Tune tells its driver goes to MLflow (by the outbox), to the costs and to the terminal.

Tune pickles its callbacks, and a database connection cannot be; so the callback that Tune holds knows only the search's
name and finds the watcher of this process by it.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from vgsr import tracking
from vgsr.search.attempts import Attempts
from vgsr.search.plan import REFERENCE, ROW, TRIAL, Search, Stage
from vgsr.tracking import Outbox, TrackedRun
from vgsr.training import launch, phases

STAGE = "vgsr.stage"  # tag of a run
WAITING = "waiting for resources"
REASON = 4000  # characters of an error that a run keeps
_WATCHERS: dict[str, "Watcher"] = {}


class Bridge(tune.Callback):
    """What Tune holds and pickles: hands every event to the watcher of this process."""

    def __init__(self, search_id: str) -> None:
        self.search_id = search_id

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial's driver is there; it begins, or begins again after a fault or a restart."""
        _WATCHERS[self.search_id].waiting(trial)

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        """Its workers are there, or an epoch has ended."""
        _WATCHERS[self.search_id].told(trial, result[ROW])

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial has ended or was pruned."""
        _WATCHERS[self.search_id].ended(trial)

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial has failed and will be started again."""
        _WATCHERS[self.search_id].lost(trial)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial has failed for good."""
        _WATCHERS[self.search_id].failed(trial)


@dataclass
class Line:
    """A trial as the terminal shows it."""

    title: str
    state: str = WAITING
    epoch: int = 0
    eer: float | None = None
    since: float = field(default_factory=time.monotonic)
    seconds: float = 0.0


class Watcher:
    """Follows one stage from the driver's process; use it as a context manager around `Tuner.fit`."""

    def __init__(
        self,
        search: Search,
        stage: Stage,
        outbox: Outbox,
        attempts: Attempts,
        tags: dict[str, str],
        known: Iterable[TrackedRun],
        console: Console,
    ) -> None:
        """known: the stage's runs of earlier calls."""
        self.search, self.stage, self.outbox, self.attempts = search, stage, outbox, attempts
        self.tags, self.console = {**tags, STAGE: stage.name}, console
        self.lines: dict[str, Line] = {}
        self._epochs = search.experiment.epochs
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._bar = self._progress.add_task("epochs", total=stage.size * self._epochs)
        for run in known:
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
        del _WATCHERS[self.search.search_id]

    def waiting(self, trial: Any) -> None:
        """Open the trial's run (or find the one it had)."""
        chosen, line = trial.config, self._line(trial)
        line.state, line.since = WAITING, time.monotonic()
        self.attempts.waiting(chosen[TRIAL])
        experiment = self.search.experiment_of(chosen)
        tags = {**self.tags, "vgsr.control": experiment.teacher.control}
        if REFERENCE in chosen:
            tags["vgsr.reference"] = chosen[REFERENCE]
        self.outbox.open(self.search.search_id, chosen[TRIAL], name=line.title, tags=tags, experiment=experiment)

    def told(self, trial: Any, row: dict[str, Any]) -> None:
        """What a trial reports: that it has started, that it has stalled, or an epoch."""
        line = self._line(trial)
        if "started" in row:
            line.state = tracking.RUNNING
            self.attempts.started(trial.config[TRIAL], row["started"])
        elif "stalled" not in row:
            self._epoch(trial.config[TRIAL], line, row)

    def ended(self, trial: Any) -> None:
        """Completed, pruned, diverged or stalled: Tune calls all of them TERMINATED."""
        self._close(trial, *ending((trial.last_result or {}).get(ROW, {}), self._epochs))

    def lost(self, trial: Any) -> None:
        """It has failed and waits to be started again: what it did since its last checkpoint is lost."""
        line = self._line(trial)
        line.state = "to be started again"
        self.attempts.lost(trial.config[TRIAL])
        self._print(f"{line.title}: starts again after: {_last_line(_error(trial))}")

    def failed(self, trial: Any) -> None:
        """Failed for good: the error's last line is the reason."""
        self._close(trial, tracking.FAILED, _error(trial)[-REASON:])

    def _line(self, trial: Any) -> Line:
        return self.lines.setdefault(trial.config[TRIAL], Line(self.search.title(trial.config)))

    def _epoch(self, name: str, line: Line, row: dict[str, Any]) -> None:
        self._progress.advance(self._bar, max(0, row["epoch"] - line.epoch))
        line.state, line.epoch, line.eer = tracking.RUNNING, row["epoch"], row["best_val_eer"]
        line.seconds = time.monotonic() - line.since
        self.attempts.row(name, row)
        log_row(self.search, self.outbox, name, row)
        self._costs(name)
        self._print(
            f"{line.title}: epoch {line.epoch}/{self._epochs}, validation EER {100 * row['val_eer']:.2f} % "
            f"(best {100 * line.eer:.2f} %)"
        )

    def _close(self, trial: Any, state: str, reason: str = "") -> None:
        name, line = trial.config[TRIAL], self._line(trial)
        line.state, line.seconds = state, time.monotonic() - line.since
        self._progress.advance(self._bar, max(0, self._epochs - line.epoch))
        self.attempts.ended(name, state, phases.crops(self.search.experiment))
        self._costs(name)
        self.outbox.close_run(self.search.search_id, name, state, reason)
        self._print(f"{line.title}: {state} {_last_line(reason)}".rstrip())

    def _costs(self, name: str) -> None:
        """What the trial has cost so far; always with the same step, so that the latest is what MLflow shows."""
        self.outbox.figures(self.search.search_id, name, self.attempts.figures(name))

    def _print(self, text: str) -> None:
        """A line of a log; a terminal shows the table instead."""
        if not self.console.is_terminal:
            self.console.print(text, soft_wrap=True)

    def _picture(self) -> Group:
        title = f"{self.search.search_id}, stage {1 if self.stage.name == 'search' else 2} ({self.stage.name})"
        table = Table("trial", "epoch", "best validation EER", "state", "seconds", title=title)
        for line in list(self.lines.values()):
            eer = "" if line.eer is None else f"{100 * line.eer:.2f} %"
            going_on = line.state in (tracking.RUNNING, WAITING)
            seconds = time.monotonic() - line.since if going_on else line.seconds
            table.add_row(line.title, f"{line.epoch}/{self._epochs}", eer, line.state, f"{seconds:.0f}")
        trouble = self.outbox.trouble
        notes = [Text(trouble, "red")] if trouble else []
        return Group(table, self._progress, *notes)


def ending(last: dict[str, Any], epochs: int) -> tuple[str, str]:
    """State and reason of a trial that ended without an error, from the last row it reported."""
    epoch = last.get("started", last).get("epoch", 0)
    if "stalled" in last:
        return tracking.FAILED, last["stalled"]
    if last.get("diverged"):
        return tracking.FAILED, f"the loss was not finite in epoch {epoch}"
    if epoch >= epochs:
        return tracking.COMPLETED, ""
    return tracking.PRUNED, f"stopped by ASHA after epoch {epoch}"


def log_row(search: Search, outbox: Outbox, trial: str, row: dict[str, Any]) -> None:
    """An epoch of a trial, and where its best checkpoint is by now; nothing of a row that is no epoch."""
    if "started" in row or "stalled" in row:
        return
    outbox.row(search.search_id, trial, row)
    if row.get("best_checkpoint"):
        place = launch.checkpoint_path(f"{search.storage}/train", trial, row["best_checkpoint"])
        outbox.tag(search.search_id, trial, {"vgsr.checkpoint": place})


def _error(trial: Any) -> str:
    """The trace of a trial's latest failure: Tune writes them one after the other into a file of this machine."""
    file = trial.error_file
    text = Path(file).read_text() if file and Path(file).is_file() else str(trial.get_error() or "unknown error")
    return text.rpartition("Failure # ")[2].strip()


def _last_line(text: str) -> str:
    """Of an error, its message."""
    return text.strip().splitlines()[-1] if text.strip() else ""
