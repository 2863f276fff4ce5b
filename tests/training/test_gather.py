"""The global batch: workers with unequal shares compute the loss and the gradients of one."""

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from vgsr.training.gather import collect, gather


def pairwise(student: torch.nn.Module, rows: torch.Tensor, shares: list[int]) -> torch.Tensor:
    """A loss that mixes all rows: it cannot be right unless every row meets every other."""
    embedding = gather(student(rows), shares)
    return torch.cdist(embedding, embedding).pow(2).sum(dim=1).log().mean()


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).double()


def _worker(rank: int, shares: list[int], rows: torch.Tensor, place: str, port: int) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=len(shares))
    student = DistributedDataParallel(model())
    loss = pairwise(student, rows.split(shares)[rank], shares)
    loss.backward()
    gradients = [parameter.grad for parameter in student.parameters()]
    told = collect([rank, 0.5], len(shares), torch.device("cpu"))
    torch.save({"loss": loss.detach(), "gradients": gradients, "told": told}, f"{place}/{rank}.pt")
    dist.destroy_process_group()


def test_loss_and_gradients_are_those_of_the_whole_batch(tmp_path, together):
    shares = [2, 1, 5]
    rows = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    student = model()
    loss = pairwise(student, rows, [8])
    loss.backward()
    together(len(shares), _worker, shares, rows, str(tmp_path))
    for rank in range(len(shares)):
        part = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert part["told"] == [[float(one), 0.5] for one in range(len(shares))]
        torch.testing.assert_close(part["loss"], loss.detach(), rtol=1e-12, atol=0)
        for got, parameter in zip(part["gradients"], student.parameters(), strict=True):
            torch.testing.assert_close(got, parameter.grad, rtol=1e-10, atol=1e-13)
