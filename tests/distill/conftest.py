"""Batches for any method, and a way to call it as the objective does on its first batch."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

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
