"""Inside a worker of Ray Train: the loop's session, and the messages that the run's launcher hears.

In: an exchange, and orders from it. Out: checkpoints in the order's place; at the exchange "started" (facts) once an
attempt, "step" (epoch, batch, batches) as a sign of life, and "row" for each epoch.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.train import get_context, get_preemption_info
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import get_device

from vgsr import config
from vgsr.storage import Place
from vgsr.training import loop, stored, usage
from vgsr.training.exchange import Message
from vgsr.training.session import Row, attempt_name, checkpoint_name, finished_epochs
from vgsr.training.timing import Rhythm

WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"  # Ray Train's own, on unless it is 0


def work(exchange: Any) -> None:
    """Do one order after the other, until there is none; what Ray Train calls in each worker."""
    torch.set_num_threads(max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))))
    done = 0
    while taken := ray.get(exchange.take.remote(done)):
        done, order = taken
        usage.forget_peaks(get_device())
        session = RaySession(exchange, done, order["place"], timed=order["timed"], heeds=order["keep"])
        with suppress(Dismissed):
            session.start()
            loop.train(config.build(order["experiment"]), session, session.on_step)
        if session.rank == 0:
            ray.get(exchange.finish.remote(done))
        if not order["keep"]:
            return
        del session
        usage.free()


class Dismissed(Exception):
    """The launcher wants no more of this run."""


class RaySession:
    """The loop's session inside a Ray Train worker.

    number, place: of its order, and where its checkpoints are kept. timed: checkpoints within an epoch, by the clock.
    heeds: wait after each row for the launcher's word, and stop where it is no.
    """

    STEP_SECONDS = 1.0  # at most one sign of life a second

    def __init__(self, exchange: Any, number: int, place: Place, *, timed: bool, heeds: bool) -> None:
        context = get_context()
        self.rank, self.world, self.device = context.get_world_rank(), context.get_world_size(), get_device()
        self.attempt, self.entered = attempt_name(), time.monotonic()
        self._exchange, self._number, self._place = exchange, number, place
        self._told, self._timed, self._heeds = 0.0, timed, heeds
        self._watched = os.environ.get(WATCHER, "1").lower() not in ("0", "false")
        self._rhythm, self._noticed = Rhythm(), frozenset[str]()

    def start(self) -> None:
        """Agree on the attempt's name, and tell the caller who takes part and where it goes on."""
        entered, known = time.time(), ray.get_runtime_context()
        resources = known.get_assigned_resources()
        own = {
            "rank": self.rank,
            "cpus": resources.get("CPU", 0.0),
            "gpus": resources.get("GPU", 0.0),
            "node": known.get_node_id(),
            "labels": dict(known.get_node_labels()),
        }
        everyone: list[Any] = [(self.attempt, own)] * self.world
        if self.world > 1:
            dist.all_gather_object(everyone, (self.attempt, own))
        self.attempt = everyone[0][0]
        if self.rank == 0:
            checkpoint = stored.latest(self._place)
            done = finished_epochs(checkpoint) if checkpoint else 0
            workers = [facts for _, facts in everyone]
            facts = {"attempt": self.attempt, "entered": entered, "epoch": done, "workers": workers}
            ray.get(self._tell("started", facts))

    @contextmanager
    def resume(self) -> Iterator[Path | None]:
        """The run's last whole checkpoint; one on S3 is copied here for the time of the `with`."""
        name = broadcast_from_rank_zero(stored.latest(self._place) if self.rank == 0 else None)
        if name is None:
            yield None
            return
        with stored.opened(self._place, name) as folder:
            yield folder

    def report(self, row: Row, write: Callable[[Path], None] | None) -> None:
        """Save the checkpoint, which rank 0 has, then hand a finished epoch's row to the launcher; Dismissed where it
        wants no more."""
        if write is not None and self.rank == 0:
            began = time.monotonic()
            stored.save(self._place, checkpoint_name(row["epoch"], row["batch"]), row["best_checkpoint"], write)
            self._rhythm.saved(time.monotonic() - began)
        if "val_eer" not in row:
            return
        go = True
        if self.rank == 0:
            ray.get(self._tell("row", row))
            go = not self._heeds or ray.get(self._exchange.verdict.remote(self._number, row["epoch"]))
        if self._heeds and not broadcast_from_rank_zero(go):
            raise Dismissed

    def wants_checkpoint(self) -> bool:
        """Once when a node of this run is about to be taken away; by the clock, where that is wanted.

        Both are asked about every `Rhythm.ASK_SECONDS`, after a batch on which the workers have agreed before.
        """
        if not (self._watched or self._timed) or not self._rhythm.is_time():
            return False
        # Both calls give every worker what rank 0 knows.
        info = get_preemption_info() if self._watched else None
        due, pause = broadcast_from_rank_zero((self._timed and self._rhythm.due, self._rhythm.pause))
        self._rhythm.rest(pause)
        leaving = frozenset(info.preempted_node_ids if info else ())
        news, self._noticed = leaving - self._noticed, self._noticed | leaving
        return bool(news) or due

    def on_step(self, epoch: int, batch: int, batches: int) -> None:
        """Tell the caller how far the epoch is."""
        now = time.monotonic()
        if self.rank == 0 and now - self._told > self.STEP_SECONDS:
            self._told = now
            self._tell("step", (epoch, batch, batches))

    def _tell(self, kind: str, content: Any) -> Any:
        return self._exchange.tell.remote(Message(kind, content, self._number))
