"""A bare run: one process, one folder, a progress bar. Needs neither Ray nor MLflow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vgsr.config import Experiment
from vgsr.distill.objective import figure_names
from vgsr.training import loop, phases, rows
from vgsr.training.session import LocalSession, Row


def train(experiment: Experiment, folder: Path, device: str, console: Console) -> Path:
    """Train in `folder`, or go on with what is there; returns the best checkpoint's folder."""
    with EpochProgress(experiment, console) as progress:
        last = loop.train(experiment, LocalSession(folder, progress.row, device), progress.step)
    return folder / "checkpoints" / rows.best_checkpoint(last)


WHOLE = 0.9995  # a share that is shown as 100 %


class EpochProgress:
    """A bar over the whole run, and a line for each epoch."""

    def __init__(self, experiment: Experiment, console: Console) -> None:
        self._console, self._experiment, self._epochs = console, experiment, experiment.epochs
        methods = [one.method for one in experiment.taught]
        self._active, self._taught = figure_names("active", methods), figure_names("taught", methods)
        self._crops = phases.crops(experiment)  # of each epoch, and so long it takes
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[batch]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("training", total=None, batch="")

    def __enter__(self) -> "EpochProgress":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.stop()
        if kind is KeyboardInterrupt:
            self._console.print("interrupted; the same command goes on from its last checkpoint", soft_wrap=True)

    def started(self, facts: dict[str, Any]) -> None:
        """Workers of Ray Train have started, for the first time or again (facts of the message `started`)."""
        workers, nodes = len(facts["workers"]), len({worker["node"] for worker in facts["workers"]})
        since = f"after epoch {facts['epoch']}" if facts["epoch"] else "from the start"
        self._console.print(f"{workers} worker{'s'[: workers > 1]} on {nodes} node{'s'[: nodes > 1]}, {since}")

    def step(self, epoch: int, batch: int, batches: int) -> None:
        """A batch is done."""
        self._bar.update(
            self._task,
            total=sum(self._crops),
            completed=sum(self._crops[:epoch]) + self._crops[epoch] * batch / batches,
            description=f"epoch {epoch + 1}/{self._epochs}{self._name(phases.at(self._experiment, epoch).name)}",
            batch=f"batch {batch}/{batches}",
        )

    def row(self, row: Row) -> None:
        """An epoch is done (rows that only carry a checkpoint say nothing)."""
        if "val_eer" not in row:
            return
        if row.get("diverged"):
            place = f"epoch {row['epoch']}{self._phase(row)}"
            self._console.print(f"{place}: the loss is no longer finite; stopped", style="red")
            return
        active = f"active {_joined(row, self._active)}"
        if any(row.get(name, 1.0) < WHOLE for name in self._taught):  # an older version's row has none
            active += f", on {_joined(row, self._taught)} of the utterances"
        of = " of the mean" if row.get("averaged") else ""
        parts = [
            f"epoch {row['epoch']}/{self._epochs}{self._phase(row)}",
            f"loss {row['loss']:.3f}",
            f"class {row['classification']:.3f}",
            f"distil {row['distillation']:.3f} ({active})" if self._active else "",
            f"accuracy {100 * row['accuracy']:.1f} %",
            f"validation EER{of} {100 * row['val_eer']:.2f} % (best {100 * row['best_val_eer']:.2f} %)",
            f"{row['utterances_per_second']:.0f} utt/s",
        ]
        if row["unreadable"]:
            parts.append(f"{row['unreadable']:.0f} UNREADABLE crops left out")
        self._console.print("   ".join(filter(None, parts)), soft_wrap=True, highlight=False)

    def _phase(self, row: Row) -> str:
        return self._name(row.get("phase", phases.TRAINING))  # an older version's row has none

    def _name(self, phase: str) -> str:
        """A phase's name behind an epoch's number; nothing where there is but the training."""
        return f" {phase}" if self._experiment.phases else ""


def _joined(row: Row, names: Sequence[str]) -> str:
    return " + ".join(f"{100 * row[name]:.0f} %" for name in names)
