"""The workers of a process: one Ray Train run, whose workers do one order after the other.

In: what workers are wanted. Out: a `Crew` that takes orders at its exchange.

To start workers takes longer than many a trial: their processes, PyTorch, a process group. So the crew of a trial that
has ended stays for the next one of the same process. Where no order comes for `exchange.IDLE_SECONDS`, it leaves.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vgsr.storage import Place, filesystem
from vgsr.training import ending, exchange
from vgsr.training.exchange import Message
from vgsr.training.group import Group

END = "end"


@dataclass(frozen=True)
class Wanted:
    """What a crew is made of. workers: a number, or a range between which it grows and shrinks with the cluster;
    retries: worker losses that it survives."""

    workers: int | tuple[int, int]
    cpus: float
    gpu: bool
    retries: int


@dataclass
class Crew:
    """A Ray Train run that is under way, and what its messages have told of it."""

    wanted: Wanted
    exchange: Any
    thread: threading.Thread | None = None
    failure: list[BaseException] = field(default_factory=list)
    controller: bytes | None = None  # its handle, pickled
    running: bool = False  # its workers run; else it waits for resources, and silence says nothing
    at: float = field(default_factory=time.monotonic)  # of the last message

    @property
    def there(self) -> bool:
        """Whether its run goes on."""
        return self.thread is not None and self.thread.is_alive()

    def hear(self, seconds: float) -> Message | None:
        """The next message, if there is one within so many seconds; what is about the crew itself is noted."""
        message = ray.get(self.exchange.hear.remote(seconds))
        if message is not None:
            self.at = time.monotonic()
            if message.kind == "controller":
                self.controller = message.content
            elif message.kind == "state":
                self.running = message.content == ending.RUNNING
        return message

    def join(self) -> None:
        """Wait for the end of a run that has said that it ends."""
        if self.thread is not None:
            self.thread.join()
        ray.kill(self.exchange)

    def dismiss(self) -> None:
        """End it at once, whatever it does; nothing of it keeps resources."""
        if self.there:
            with suppress(ray.exceptions.RayActorError):  # the exchange is what has died
                while self.controller is None and self.hear(0.0) is not None:
                    pass
            if self.controller is not None:
                ending.end(self.controller)
        ray.kill(self.exchange)


def start(wanted: Wanted, work: Callable[[dict[str, Any]], None], name: str, storage: Place) -> Crew:
    """Start a crew, each worker of which calls `work({"exchange": …})`; `name` and `storage` are its run's for Ray."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    crew = Crew(wanted, exchange.start(here))  # here: not on a node that may be lost
    callbacks: Any = [ending.Introduction(crew.exchange)]
    size: Any = wanted.workers  # Ray's hints know neither a range nor its own callbacks
    system, folder = filesystem(storage)
    trainer = DataParallelTrainer(
        work,
        train_loop_config={"exchange": crew.exchange},
        scaling_config=ScalingConfig(
            num_workers=size,
            use_gpu=wanted.gpu,
            resources_per_worker={"CPU": wanted.cpus, **({"GPU": 1} if wanted.gpu else {})},
        ),
        backend_config=Group("nccl" if wanted.gpu else "gloo"),
        run_config=RunConfig(
            name=name,
            storage_path=folder,
            storage_filesystem=system,
            failure_config=FailureConfig(max_failures=wanted.retries),
            callbacks=callbacks,
        ),
    )

    def run() -> None:
        try:
            trainer.fit()
        except BaseException as error:  # handed over to the launcher's thread
            crew.failure.append(error)
        finally:
            ending.tell(crew.exchange, END)  # after all messages of the workers: they wait for theirs to arrive

    # In a thread: the launcher's must stay free to hand rows on while the run goes on.
    crew.thread = threading.Thread(target=run, name=f"fit-{name}", daemon=True)
    crew.thread.start()
    return crew
