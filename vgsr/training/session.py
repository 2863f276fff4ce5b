"""Where a loop runs: the few things it asks of its surroundings, and the plainest surroundings there are.

The loop knows only the `Session` protocol; `LocalSession` is a folder on disk (bare runs, tests, a GPU machine
without Ray), `launch.py` has the one on Ray Train.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

Row = dict[str, Any]  # one epoch's figures, JSON types only


def checkpoint_name(epoch: int, batch: int) -> str:
    """The folder of the checkpoint after `epoch` epochs and `batch` batches; names sort by position."""
    return f"{epoch:05d}-{batch:06d}"


class Session(Protocol):
    """What the loop may ask: who am I, where did I stop, take this report."""

    rank: int
    world: int
    device: torch.device

    def resume(self) -> Any:
        """Context manager: the folder of the checkpoint to go on from, or None."""

    def report(self, row: Row, write: Callable[[Path], None] | None) -> None:
        """Hand over figures and, where `write` is given, a checkpoint; every worker calls it equally often.

        `write(folder)` is called on rank 0 only. A row without `val_eer` is no epoch: it only carries a checkpoint.
        """


class LocalSession:
    """A run in a folder: `checkpoints/00003-0000` (epoch-batch); the best and the latest are kept."""

    def __init__(
        self,
        folder: str | Path,
        on_row: Callable[[Row], None] | None = None,
        device: str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.rank, self.world, self.device = rank, world, torch.device(device)
        self.checkpoints = Path(folder).absolute() / "checkpoints"
        self._on_row = on_row
        if rank == 0:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            for leftover in self.checkpoints.glob(".writing-*"):  # a killed run's unfinished checkpoint
                shutil.rmtree(leftover)

    @contextmanager
    def resume(self) -> Iterator[Path | None]:
        """The latest whole checkpoint."""
        yield max(self._all(), default=None)

    def report(self, row: Row, write: Callable[[Path], None] | None) -> None:
        """Write the checkpoint (whole or not at all), drop those no longer needed, hand the row on."""
        if self.rank:
            return
        if write is not None:
            writing = Path(tempfile.mkdtemp(prefix=".writing-", dir=self.checkpoints))
            write(writing)
            place = self.checkpoints / checkpoint_name(row["epoch"], row["batch"])
            shutil.rmtree(place, ignore_errors=True)  # only ever the same position of a run that was resumed earlier
            os.replace(writing, place)
            keep = {place, self.checkpoints / row["best_checkpoint"]} if row.get("best_checkpoint") else {place}
            for old in set(self._all()) - keep:
                shutil.rmtree(old)
        if self._on_row:
            self._on_row(row)

    def _all(self) -> list[Path]:
        return [path for path in self.checkpoints.iterdir() if not path.name.startswith(".")]
