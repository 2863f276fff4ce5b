"""A bare run: one process, one folder, a progress bar. Needs neither Ray nor MLflow."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vgsr.config import Experiment
from vgsr.distill.objective import figure_names
from vgsr.training import loop, rows
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
        self._console, self._epochs = console, experiment.train.epochs
        methods = [one.method for one in experiment.taught]
        self._active, self._taught = figure_names("active", methods), figure_names("taught", methods)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
        )
        self._task = self._bar.add_task("training", total=None)

    def __enter__(self) -> "EpochProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, epoch: int, batch: int, batches: int) -> None:
        """A batch is done."""
        self._bar.update(
            self._task,
            total=self._epochs * batches,
            completed=epoch * batches + batch,
            description=f"epoch {epoch + 1}/{self._epochs}",
        )

    def row(self, row: Row) -> None:
        """An epoch is done (rows that only carry a checkpoint say nothing)."""
        if "val_eer" not in row:
            return
        if row.get("diverged"):
            self._console.print(f"epoch {row['epoch']}: the loss is no longer finite; stopped", style="red")
            return
        active = f"active {_joined(row, self._active)}"
        if any(row.get(name, 1.0) < WHOLE for name in self._taught):  # an older version's row has none
            active += f", on {_joined(row, self._taught)} of the utterances"
        parts = [
            f"epoch {row['epoch']}/{self._epochs}",
            f"loss {row['loss']:.3f}",
            f"class {row['classification']:.3f}",
            f"distil {row['distillation']:.3f} ({active})" if self._active else "",
            f"accuracy {100 * row['accuracy']:.1f} %",
            f"validation EER {100 * row['val_eer']:.2f} % (best {100 * row['best_val_eer']:.2f} %)",
            f"{row['utterances_per_second']:.0f} utt/s",
        ]
        if row["unreadable"]:
            parts.append(f"[red]{row['unreadable']:.0f} unreadable crops left out[/red]")
        self._console.print("   ".join(filter(None, parts)), soft_wrap=True, highlight=False)


def _joined(row: Row, names: Sequence[str]) -> str:
    return " + ".join(f"{100 * row[name]:.0f} %" for name in names)
