"""The process group of a run's workers (DDP), as a backend of Ray Train.

In: the name of PyTorch's backend. Out: workers that can speak to each other.

It is Ray's own for PyTorch, for which PyTorch is loaded only where it is needed: the processes that a trial has beside
its workers start in half the time, and a single worker needs no group.
"""

from dataclasses import dataclass
from typing import Any

from ray.train.backend import Backend, BackendConfig


@dataclass
class Group(BackendConfig):
    """What `ray.train.torch.TorchConfig` is. backend: nccl or gloo."""

    backend: str

    @property
    def backend_cls(self) -> type["TorchGroup"]:
        """Who sets the group up."""
        return TorchGroup


class TorchGroup(Backend):
    """Sets the group up from the run's controller, with Ray's own functions."""

    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Join the workers of a new group."""
        if len(worker_group) > 1:
            config, backend = _own(backend_config)
            backend.on_start(worker_group, config)

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        """Take the group apart."""
        if len(worker_group) > 1:
            config, backend = _own(backend_config)
            backend.on_shutdown(worker_group, config)


def _own(group: Group) -> tuple[Any, Any]:
    from ray.train.torch import TorchConfig

    config = TorchConfig(backend=group.backend)
    return config, config.backend_cls()
