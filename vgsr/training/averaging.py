"""The mean of the weights that a phase's last epochs ended with, as a running sum that checkpoints carry along.

WeSpeaker averages the files of its last checkpoints; which epochs those are is known in advance, so a sum does.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """Sums `module.name → tensor` in float64, so that the mean of float32 weights is rounded once.

    Running statistics of normalisation layers are averaged too, as WeSpeaker does. Integers (how many batches such a
    layer has seen) have no mean: the modules keep their own.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, modules: Mapping[str, nn.Module]) -> None:
        """Add the weights as they are now."""
        self.count += 1
        for name, tensor in _tensors(modules).items():
            self.sums[name] = self.sums.get(name, 0.0) + tensor.detach().double()

    def take(self, modules: Mapping[str, nn.Module]) -> None:
        """Give the modules the mean of what was added, and forget it; ValueError when nothing was."""
        if not self.count:
            raise ValueError("there is nothing to average")
        with torch.no_grad():
            for name, tensor in _tensors(modules).items():
                tensor.copy_(self.sums[name] / self.count)
        self.count, self.sums = 0, {}

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"count": self.count, "sums": self.sums}

    def restore(self, saved: Any, modules: Mapping[str, nn.Module]) -> None:
        """Go on from a `state` of these modules; ValueError, TypeError or KeyError where it is none."""
        count, sums = saved["count"], saved["sums"]
        shapes = {name: tensor.shape for name, tensor in _tensors(modules).items()} if count else {}
        if not isinstance(count, int) or count < 0 or {name: tensor.shape for name, tensor in sums.items()} != shapes:
            raise ValueError("the sums of weights are not of these modules")
        if any(tensor.dtype != torch.float64 for tensor in sums.values()):
            raise ValueError("the sums of weights are not float64")
        self.count, self.sums = count, dict(sums)


def _tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{part}.{name}": tensor
        for part, module in modules.items()
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point()
    }
