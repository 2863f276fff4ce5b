"""The global batch: two workers compute the loss and the gradients of one."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from vgsr.training.gather import gather


def pairwise(student: torch.nn.Module, rows: torch.Tensor, world: int) -> torch.Tensor:
    """A loss that mixes all rows: it cannot be right unless every row meets every other."""
    embedding = gather(student(rows), world)
    return torch.cdist(embedding, embedding).pow(2).sum(dim=1).log().mean()


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).double()


def _worker(rank: int, rows: torch.Tensor, port: int, place: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    student = DistributedDataParallel(model())
    half = len(rows) // 2
    loss = pairwise(student, rows[rank * half : (rank + 1) * half], 2)
    loss.backward()
    gradients = [parameter.grad for parameter in student.parameters()]
    torch.save({"loss": loss.detach(), "gradients": gradients}, f"{place}/{rank}.pt")
    dist.destroy_process_group()


def test_loss_and_gradients_are_those_of_the_whole_batch(tmp_path, free_port):
    rows = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    student = model()
    loss = pairwise(student, rows, 1)
    loss.backward()
    mp.spawn(_worker, (rows, free_port(), str(tmp_path)), nprocs=2)
    for rank in range(2):
        half = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(half["loss"], loss.detach(), rtol=1e-12, atol=0)
        for got, parameter in zip(half["gradients"], student.parameters(), strict=True):
            torch.testing.assert_close(got, parameter.grad, rtol=1e-10, atol=1e-13)
