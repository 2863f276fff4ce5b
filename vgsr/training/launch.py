"""Ray Train: the same loop in a group of workers (DDP), with checkpoints in a storage that all nodes reach.

In: an experiment, a run name, the place that it is kept in. Out: the rows of the run, handed to `on_row` in the
caller's process as they happen. The same name in the same storage goes on from its last checkpoint.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import (
    Checkpoint,
    CheckpointConfig,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    get_checkpoint,
    get_context,
    report,
)
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.util.queue import Empty, Queue

from vgsr import config
from vgsr.config import Experiment
from vgsr.storage import filesystem
from vgsr.training import loop
from vgsr.training.session import Row, checkpoint_name

OnStep = Callable[[int, int, int], None]

# How often a run's controller looks at its workers; its default of 2 s is also how long every report would take.
POLL_SECONDS = "0.2"
# Worker losses (a crash, a lost node) that a run survives before it counts as failed.
MAX_FAILURES = 3
DRIVER_RESOURCE = "trial_driver"
# For a cluster of this machine alone. A trial is eight small processes of which only the workers compute: Ray need not
# warn of so many; and nobody preempts this machine, so nothing has to watch for it.
LOCAL = {"RAY_worker_maximum_startup_concurrency": "16", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}


def connect() -> None:
    """Join the cluster that `$RAY_ADDRESS` names, else one that runs on this machine, else start one here.

    `RAY_ADDRESS=local` starts one in any case. ConnectionError when a named cluster does not answer.

    The dashboard stays on: Ray frees the workers of a pruned trial through it. A cluster that we start also offers
    the resource on which trial drivers are placed, so that they take no core from training.
    """
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    address = os.environ.get("RAY_ADDRESS", "auto")
    if address != "local":
        try:
            ray.init(address=address, **quiet)
            return
        except ConnectionError:
            if address != "auto":
                raise
    for name, value in LOCAL.items():
        os.environ.setdefault(name, value)
    ray.init("local", include_dashboard=True, dashboard_host="127.0.0.1", resources={DRIVER_RESOURCE: 1000}, **quiet)


def fit(
    experiment: Experiment,
    *,
    name: str,
    storage: str,
    on_row: Callable[[Row], None],
    on_step: OnStep | None = None,
    retries: int = MAX_FAILURES,
) -> None:
    """Train on Ray; returns when the run has ended, raises what it failed with once it has lost `retries` + 1 workers.

    `on_row` and `on_step` are called in this process and thread. An exception from them (Tune stops a trial this way)
    ends the call; the workers end with the process that owns them.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", POLL_SECONDS)
    settings = experiment.train
    queue = Queue(actor_options={"num_cpus": 0})
    system, folder = filesystem(storage)
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"experiment": experiment.model_dump(mode="json"), "queue": queue},
        scaling_config=ScalingConfig(
            num_workers=settings.workers,
            use_gpu=settings.gpu,
            resources_per_worker={"CPU": settings.cpus_per_worker, **({"GPU": 1} if settings.gpu else {})},
        ),
        torch_config=TorchConfig(backend="nccl" if settings.gpu else "gloo"),
        run_config=RunConfig(
            name=name,
            storage_path=folder,
            storage_filesystem=system,
            failure_config=FailureConfig(max_failures=retries),
            checkpoint_config=CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute="selection", checkpoint_score_order="min"
            ),
        ),
    )
    failure: list[BaseException] = []

    def run() -> None:
        try:
            trainer.fit()
        except BaseException as error:  # handed over to the caller's thread, below
            failure.append(error)

    # In a thread: this one must stay free to hand rows on while the run goes on.
    thread = threading.Thread(target=run, name=f"fit-{name}", daemon=True)
    thread.start()
    try:
        _drain(queue, thread, on_row, on_step)
    finally:
        queue.shutdown()
    if failure:
        raise failure[0]


def checkpoint_path(storage: str, name: str, checkpoint: str) -> str:
    """Where the run `name` keeps the checkpoint that a row calls `best_checkpoint`."""
    return f"{storage.rstrip('/')}/{name}/{checkpoint}"


def _drain(queue: Queue, thread: threading.Thread, on_row: Callable[[Row], None], on_step: OnStep | None) -> None:
    while True:
        running = thread.is_alive()  # asked before the queue: what a dead run left is still read
        try:
            kind, content = queue.get(timeout=0.5)
        except Empty:
            if not running:
                return
            continue
        if kind == "row":
            on_row(content)
        elif on_step:
            on_step(*content)


def _worker(settings: dict[str, Any]) -> None:
    torch.set_num_threads(max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))))
    session = RaySession(settings["queue"])
    loop.train(config.build(settings["experiment"]), session, session.on_step)


class RaySession:
    """The loop's session inside a Ray Train worker."""

    STEP_SECONDS = 1.0  # at most one sign of life a second

    def __init__(self, queue: Queue) -> None:
        context = get_context()
        self.rank, self.world, self.device = context.get_world_rank(), context.get_world_size(), get_device()
        self._queue, self._told = queue, 0.0

    @contextmanager
    def resume(self) -> Iterator[Path | None]:
        """The run's last reported checkpoint, copied here for the time of the `with`."""
        checkpoint = get_checkpoint()
        if checkpoint is None:
            yield None
            return
        with checkpoint.as_directory() as folder:
            yield Path(folder)

    def report(self, row: Row, write: Callable[[Path], None] | None) -> None:
        """Report to Ray Train (rank 0 brings the checkpoint), then hand a finished epoch's row to the caller."""
        checkpoint = None
        if write is not None and self.rank == 0:
            folder = Path(tempfile.mkdtemp(prefix="vgsr-checkpoint-"))
            write(folder)
            checkpoint = Checkpoint.from_directory(folder)
        brief = {key: value for key, value in row.items() if key not in ("steps", "history")}
        place = checkpoint_name(row["epoch"], row["batch"]) if write else None
        report(brief, checkpoint=checkpoint, checkpoint_dir_name=place, delete_local_checkpoint_after_upload=True)
        if self.rank == 0 and "val_eer" in row:
            self._queue.put(("row", row))

    def on_step(self, epoch: int, batch: int, batches: int) -> None:
        """Tell the caller how far the epoch is."""
        now = time.monotonic()
        if self.rank == 0 and now - self._told > self.STEP_SECONDS:
            self._told = now
            self._queue.put(("step", (epoch, batch, batches)))
