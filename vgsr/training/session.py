"""Where a loop runs: the few things it asks of its surroundings, and the plainest surroundings there are.

The loop knows only the `Session` protocol; `LocalSession` is a folder on disk (bare runs, tests, a GPU machine
without Ray), `worker.py` has the one on Ray Train.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from vgsr.training import stored

Row = dict[str, Any]  # one epoch's figures, JSON types only


def checkpoint_name(epoch: int, batch: int) -> str:
    """The folder of the checkpoint after `epoch` epochs and `batch` batches; names sort by position."""
    return f"{epoch:05d}-{batch:06d}"


def finished_epochs(checkpoint: str) -> int:
    """The epochs behind a checkpoint of this name."""
    return int(checkpoint.partition("-")[0])


def attempt_name() -> str:
    """8 hex digits: one start of a run, until its workers end or are lost."""
    return uuid.uuid4().hex[:8]


class Session(Protocol):
    """What the loop may ask: who am I, where did I stop, take this report."""

    rank: int
    world: int
    device: torch.device
    attempt: str  # `attempt_name`, the same on every worker
    entered: float  # `time.monotonic()` at its start

    def resume(self) -> Any:
        """Context manager: the folder of the checkpoint to go on from, or None."""

    def report(self, row: Row, write: Callable[[Path], None] | None) -> None:
        """Hand over figures and, where `write` is given, a checkpoint; every worker calls it equally often.

        `write(folder)` is called on rank 0 only. A row without `val_eer` is no epoch: it only carries a checkpoint.
        """

    def wants_checkpoint(self) -> bool:
        """Whether a checkpoint is wanted here, within an epoch: the machine is about to be taken away, say.

        Asked after every batch, by every worker; all get the same answer.
        """


class LocalSession:
    """A run in a folder, whose checkpoints are in `checkpoints` there (`stored`)."""

    def __init__(
        self,
        folder: str | Path,
        on_row: Callable[[Row], None] | None = None,
        device: str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.rank, self.world, self.device = rank, world, torch.device(device)
        self.attempt, self.entered = attempt_name(), time.monotonic()
        self.checkpoints = Path(folder).absolute() / "checkpoints"
        self._on_row = on_row

    @contextmanager
    def resume(self) -> Iterator[Path | None]:
        """The latest whole checkpoint."""
        name = stored.latest(self.checkpoints)
        yield self.checkpoints / name if name else None

    def report(self, row: Row, write: Callable[[Path], None] | None) -> None:
        """Write the checkpoint, hand the row on."""
        if self.rank:
            return
        if write is not None:
            stored.save(self.checkpoints, checkpoint_name(row["epoch"], row["batch"]), row["best_checkpoint"], write)
        if self._on_row:
            self._on_row(row)

    def wants_checkpoint(self) -> bool:
        """Never: nobody takes this machine away."""
        return False
