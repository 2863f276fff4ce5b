"""The global batch: every worker's rows on every worker, with gradients; and what else workers tell each other.

Each worker computes the whole objective on the global batch. DDP averages gradients over the workers, and the gather's
backward sums what every worker sends back, so the result is the gradient of one worker with the whole batch, exactly,
for relations and contrasts too, and for workers with unequal shares.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.functional import pad


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, shares: Sequence[int]) -> torch.Tensor:
        rank = dist.get_rank()
        ctx.own = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
        # Not every backend takes parts of different sizes: they are filled up to the largest, and cut again.
        rows = pad(rows, (0, 0) * (rows.dim() - 1) + (0, max(shares) - len(rows))).contiguous()
        parts = [torch.empty_like(rows) for _ in shares]
        dist.all_gather(parts, rows)
        return torch.cat([part[:count] for part, count in zip(parts, shares, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)  # autograd may share it
        dist.all_reduce(total)
        return total[ctx.own], None


def gather(rows: torch.Tensor, shares: Sequence[int]) -> torch.Tensor:
    """`[shares[rank], …]` of this worker → `[sum(shares), …]` of all, in rank order."""
    return rows if len(shares) == 1 else _Gather.apply(rows, tuple(shares))


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


def collect(figures: Sequence[float], world: int, device: torch.device) -> list[list[float]]:
    """The same figures of every worker, by rank."""
    own = torch.tensor(figures, dtype=torch.float64, device=device)
    parts = [own] * world
    if world > 1:
        parts = [torch.empty_like(own) for _ in range(world)]
        dist.all_gather(parts, own)
    return [part.tolist() for part in parts]
