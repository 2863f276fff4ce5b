"""Ray Train: the same loop in a group of workers (DDP), with checkpoints in a storage that all nodes reach.

In: an experiment, a run name, the place that it is kept in. Out: the rows of the run, handed to `on_row` in the
caller's process as they happen. The same name in the same storage goes on from its last checkpoint.
"""

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ray

from vgsr.config import Experiment
from vgsr.training import crew, ending
from vgsr.training.crew import Crew, Wanted

if TYPE_CHECKING:
    from vgsr.training.session import Row  # which loads PyTorch

OnStep = Callable[[int, int, int], None]
OnStarted = Callable[[dict[str, Any]], None]

# What Ray Train reads from the environment. Its controller looks at its workers every 2 s unless told. It asks for the
# workers of a lost node again after 60 s, and retries without end.
SETTINGS = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30"}
# Worker losses (a crash, a lost node) that a run survives before it counts as failed. A preemption that was announced
# is not one of them.
MAX_FAILURES = 3
# How long to listen for a message before looking whether a run has stalled, or what keeps it waiting.
LISTEN_SECONDS = 2.0

_kept: list[Crew] = []  # the crew that this process keeps for its next run, at most one


class Stalled(Exception):
    """A run gave no sign of life for so long that it was ended."""


def fit(
    experiment: Experiment,
    *,
    name: str,
    storage: str,
    on_row: "Callable[[Row], None]",
    on_step: OnStep | None = None,
    on_started: OnStarted | None = None,
    workers: tuple[int, int] | None = None,
    retries: int = MAX_FAILURES,
    stall_seconds: float | None = None,
    keep: bool = False,
) -> None:
    """Train on Ray; returns when the run has ended, raises what it failed with once it has lost `retries` + 1 workers.

    `on_row`, `on_step` and `on_started` (facts of an attempt) are called in this process and thread. `workers` is a
    range between which the run grows and shrinks with the cluster; None: as many as the experiment says. Stalled when
    running workers say nothing for `stall_seconds`; waiting for resources is no stall.

    keep: the workers stay for a while, for the next run of this process, which then starts at once; until `leave`.
    They wait after each row for `on_row` to return, and stay too where it raises: Tune stops a trial this way.
    However the call ends otherwise, no worker and no placement group of the run is left.
    """
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    settings = experiment.train
    wanted = Wanted(workers or settings.workers, settings.cpus_per_worker, settings.gpu, retries)
    order = {
        "experiment": experiment.model_dump(mode="json"),
        "place": f"{storage.rstrip('/')}/{name}",
        "timed": workers is not None and not settings.checkpoint_batches,
        "keep": keep,
    }
    ours, number = _given(order, wanted, name, storage)
    hear = {"row": on_row, "step": lambda place: on_step and on_step(*place), "started": on_started or (lambda _: None)}
    try:
        ended = _drain(ours, number, hear, keep, stall_seconds)
    except _Stopped as stopped:
        _kept.append(ours)
        raise stopped.cause from None
    except BaseException:
        ours.dismiss()
        raise
    if not ended:
        _kept.append(ours)
        return
    ours.join()
    if ours.failure:
        raise ours.failure[0]
    if keep:
        raise RuntimeError(f"the workers of run {name} have left before its end")


def leave() -> None:
    """End the crew that this process has kept, if it has one."""
    while _kept:
        _kept.pop().dismiss()


def checkpoint_path(storage: str, name: str, checkpoint: str) -> str:
    """Where the run `name` keeps the checkpoint that a row calls `best_checkpoint`."""
    return f"{storage.rstrip('/')}/{name}/{checkpoint}"


class _Stopped(Exception):
    """`on_row` has raised, and the workers wait for another order."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause


def _given(order: dict[str, Any], wanted: Wanted, name: str, storage: str) -> tuple[Crew, int]:
    """A crew that has the order, the kept one if that is as wanted, and the order's number."""
    while _kept:
        ours = _kept.pop()
        if ours.wanted == wanted and ours.there:
            number = ray.get(ours.exchange.give.remote(order))
            if number is not None:
                ours.at = time.monotonic()
                return ours, number
        ours.dismiss()
    ending.clear_orphans()
    ours = crew.start(wanted, _work, name, storage)
    return ours, ray.get(ours.exchange.give.remote(order))


def _work(settings: dict[str, Any]) -> None:
    # Imported in the worker alone: the process that launches it needs no PyTorch.
    from ray.train.torch.config import TorchConfigContextManager

    from vgsr.training import worker

    with TorchConfigContextManager():
        worker.work(settings["exchange"])


def _drain(
    ours: Crew, number: int, hear: dict[str, Callable[[Any], Any]], keep: bool, stall_seconds: float | None
) -> bool:
    """Hand the messages of an order on until its end; whether that was the end of the crew."""
    place = "its start"
    while True:
        message = ours.hear(LISTEN_SECONDS)
        if message is None:
            silent = time.monotonic() - ours.at
            if ours.running and stall_seconds is not None and silent > stall_seconds:
                raise Stalled(f"no sign of life for {silent:.0f} s since {place}")
            if not ours.running:
                ending.clear_orphans()
            continue
        kind, content, about = message
        if kind == crew.END or (kind == "finished" and about == number and keep):
            return kind == crew.END
        if about != number or kind == "finished":
            continue
        if kind == "step":
            place = "epoch {}, batch {} of {}".format(*content)
        elif kind == "row":
            place = f"the end of epoch {content['epoch']}"
        if kind == "row" and keep:
            _judged(ours, number, content, hear["row"])
        else:
            hear[kind](content)


def _judged(ours: Crew, number: int, row: "Row", on_row: "Callable[[Row], None]") -> None:
    """Hand a row on, and let the workers know whether to go on."""
    try:
        on_row(row)
    except BaseException as error:
        ray.get(ours.exchange.judge.remote(number, row["epoch"], False))
        raise _Stopped(error) from error
    ray.get(ours.exchange.judge.remote(number, row["epoch"], True))
