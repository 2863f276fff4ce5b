"""Batches for any method, and a way to call it as the objective does on its first batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vgsr.distill import Distillation, Margin, Objective, Statistics, find, statistics
from vgsr.distill.methods import METHODS, Past

WIDTHS = {"relation": (4, 6)}  # student, teacher; relations compare spaces of different width
LABELS = [0, 1, 0, 2, 1, 3, 2]


@pytest.fixture(scope="session")
def call() -> Callable[..., Tensor]:
    """`call(name, student, teacher, labels, **given)`: D, with nothing past and learned tensors at their start.

    `given` are options, and `past` or learned tensors instead of those.
    """

    def discrepancies(name: str, student: Tensor, teacher: Tensor, labels: Tensor, **given: object) -> Tensor:
        method = METHODS[name]
        first = {learned: start(teacher.shape[1]).to(student) for learned, start in method.learned.items()}
        if method.queue:
            first["past"] = Past(student[:0].detach(), teacher[:0].detach(), labels[:0])
        return method.function(student, teacher, labels, **{**first, **given})

    return discrepancies


@pytest.fixture(scope="session")
def draw() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """`draw(name, seed=0, dtype=float64)`: student, teacher and labels of 7 rows, as wide as the method wants them."""

    def batch(name: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        widths = WIDTHS.get(METHODS[name].level, (5, 5))
        student, teacher = (torch.randn(len(LABELS), width, generator=generator, dtype=dtype) for width in widths)
        return student, teacher, torch.tensor(LABELS)

    return batch


@pytest.fixture(scope="session")
def earlier(draw) -> Callable[..., dict[str, Past]]:
    """`earlier(name)`: `{"past": …}` of rows from another batch for a method with a queue, else nothing."""

    def given(name: str) -> dict[str, Past]:
        return {"past": Past(*draw(name, seed=99))} if METHODS[name].queue else {}

    return given


@pytest.fixture(scope="session")
def realistic() -> Callable[[str], tuple[Tensor, Tensor, Tensor]]:
    """`realistic(name)`: float64 as training hands it over, half-way taught: 64 rows, 700 speakers, 128 dimensions."""

    def batch(name: str) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)

        def directions(rows: int, width: int) -> Tensor:
            return F.normalize(torch.randn(rows, width, generator=generator, dtype=torch.float64), dim=1)

        labels = torch.randint(40, (64,), generator=generator)
        centres, speakers = directions(700, 128), directions(700, 192)
        teacher = F.normalize(centres[labels] + directions(64, 128), dim=1)
        projected = teacher + directions(64, 128)
        embedding = speakers[labels] + directions(64, 192)
        if METHODS[name].level == "relation":
            return embedding, teacher, labels
        if METHODS[name].level == "logit":
            return 32 * F.normalize(embedding, dim=1) @ speakers.T, 32 * teacher @ centres.T, labels
        if METHODS[name].level == "classifier":
            return 32 * F.normalize(projected, dim=1) @ centres.T, 32 * teacher @ centres.T, labels
        return projected, teacher, labels

    return batch


B, SPEAKERS, WIDTH, TEACHER = 8, 5, 6, 4  # of `batch`: rows, speakers, student's and teacher's dimension


@pytest.fixture(scope="session")
def batch() -> Callable[..., dict[str, Tensor]]:
    """`batch(seed=0, dtype=float64)`: what an objective is given of 8 rows."""

    def made(*, seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
        """A batch with leaves that require gradients; rows 2 and 5 have no face and a NaN teacher row."""
        g = torch.Generator().manual_seed(seed)
        tensors = {
            "class_losses": torch.rand(B, generator=g, dtype=dtype),
            "embedding": torch.randn(B, WIDTH, generator=g, dtype=dtype),
            "projected": torch.randn(B, TEACHER, generator=g, dtype=dtype),
            "logits": 4 * torch.randn(B, SPEAKERS, generator=g, dtype=dtype),
        }
        for tensor in tensors.values():
            tensor.requires_grad_()
        teacher = torch.randn(B, TEACHER, generator=g, dtype=dtype)
        has_face = torch.ones(B, dtype=torch.bool)
        has_face[[2, 5]] = False
        teacher[~has_face] = float("nan")
        signals = torch.randn(B, 2, generator=g, dtype=dtype)
        signals[1, 0] = signals[2, 1] = float("nan")
        labels = torch.tensor([0, 1, 2, 0, 3, 4, 1, 0])
        return {**tensors, "teacher": teacher, "has_face": has_face, "labels": labels, "signals": signals}

    return made


@pytest.fixture(scope="session")
def centres() -> Tensor:
    """The teacher's class centres `[5, 4]` that go with `batch`."""
    return torch.randn(SPEAKERS, TEACHER, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.fixture(scope="session")
def signal_statistics() -> Statistics:
    """Statistics of the two signals of `batch`."""
    return statistics(torch.randn(50, 2, generator=torch.Generator().manual_seed(8), dtype=torch.float64))


@pytest.fixture(scope="session")
def distillation(centres) -> Callable[..., Distillation]:
    """`distillation(name, **settings)`: one that fits `batch`, with λ 1."""

    def made(name: str, **settings: Any) -> Distillation:
        return Distillation(find(name), dimension=TEACHER, **{"weight": 1.0, "centres": centres, **settings})

    return made


@pytest.fixture(scope="session")
def objective(distillation) -> Callable[..., Objective]:
    """`objective(name, margin=None, weight=1.0, **quality)`: of one distillation that fits `batch`."""

    def made(name: str, margin: Margin | None = None, weight: float = 1.0, **quality: Any) -> Objective:
        return Objective([distillation(name, margin=margin, weight=weight)], **quality)

    return made
