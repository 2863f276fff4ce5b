"""The global batch: every worker's rows on every worker, with gradients.

Each worker computes the whole objective on the global batch. DDP averages gradients over the workers, and the gather's
backward sums what every worker sends back, so the result is the gradient of one worker with the whole batch, exactly,
for relations and contrasts too.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        ctx.size = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)  # autograd may share it
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.size
        return total[first : first + ctx.size]


def gather(rows: torch.Tensor, world: int) -> torch.Tensor:
    """`[B/world, …]` of this worker → `[B, …]` of all, in rank order; every worker must bring the same shape."""
    return rows if world == 1 else _Gather.apply(rows)


def agree(parameters: Iterable[torch.nn.Parameter], world: int) -> None:
    """Average gradients over the workers, for parameters outside DDP that every worker trains on the global batch.

    Theirs are the same but for the order of sums on a GPU, and from such differences copies would drift apart.
    """
    if world == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= world
