"""Methods of one embedding against loops over scalars, and what is special to each."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from vgsr.distill.embeddings import VARIANCE_FLOOR
from vgsr.distill.methods import METHODS

Row = list[float]
FAMILY = [name for name, method in METHODS.items() if method.level == "embedding"]


def cos(a: Row, b: Row) -> float:
    lengths = math.hypot(*a) * math.hypot(*b)
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths


def mean_of(term: Callable[[float], float]) -> Callable[[Row, Row], float]:
    return lambda a, b: sum(term(x - y) for x, y in zip(a, b, strict=True)) / len(a)


def vid_at_its_start(a: Row, b: Row) -> float:
    v_min = 0.001 / len(a)
    v = 1 / len(a) + v_min
    return mean_of(lambda x: 0.5 * (x * x / v + math.log(v / v_min)))(a, b)


LOOPS: dict[str, Callable[[Row, Row], float]] = {
    "cosine": lambda a, b: 1 - cos(a, b),
    "angle": lambda a, b: math.acos(cos(a, b)),
    "l2": mean_of(lambda x: x * x),
    "l1": mean_of(abs),
    "vid": vid_at_its_start,
}


def test_every_method_has_a_loop() -> None:
    assert set(LOOPS) == set(FAMILY)


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("seed", range(3))
def test_matches_loop(name: str, seed: int, call, draw) -> None:
    student, teacher, labels = draw(name, seed)
    expected = [LOOPS[name](a, b) for a, b in zip(student.tolist(), teacher.tolist(), strict=True)]
    assert call(name, student, teacher, labels).tolist() == pytest.approx(expected, rel=0, abs=1e-9)


def test_means_are_the_public_scalars(call, draw) -> None:
    batch = student, teacher, _ = draw("l2", seed=7)
    expected = {
        "l1": F.l1_loss(student, teacher),
        "l2": F.mse_loss(student, teacher),
        "cosine": F.cosine_embedding_loss(student, teacher, torch.ones(len(student))),
    }
    for name, scalar in expected.items():
        assert call(name, *batch).mean().item() == pytest.approx(scalar.item(), abs=1e-12)


@pytest.mark.parametrize("radians", [1e-6, 1e-3, 1.0, 3.0, math.pi - 1e-3])
def test_angle_keeps_its_digits_in_float32(radians: float, call) -> None:
    # Exact inputs: the angle of the rounded vector is computed in float64.
    student = torch.tensor([[math.cos(radians), math.sin(radians)]])
    expected = math.atan2(student[0, 1].item(), student[0, 0].item())
    found = call("angle", student, torch.tensor([[1.0, 0.0]]), torch.tensor([0])).item()
    assert found == pytest.approx(expected, rel=2e-6)


def drawn_log_variance(dimensions: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(dimensions, generator=generator, dtype=torch.float64).requires_grad_()


def variance(log_variance: torch.Tensor) -> torch.Tensor:
    return (log_variance.exp() + VARIANCE_FLOOR) / len(log_variance)


def test_vid_is_the_gaussian_likelihood_up_to_a_constant(call, draw) -> None:
    student, teacher, labels = draw("vid", seed=7)
    student.requires_grad_()
    log_variance = drawn_log_variance(teacher.shape[1])
    scalar = F.gaussian_nll_loss(student, teacher, variance(log_variance).expand_as(teacher), eps=1e-12)
    found = call("vid", student, teacher, labels, log_variance=log_variance).mean()
    v_min = VARIANCE_FLOOR / teacher.shape[1]
    assert found.item() == pytest.approx(scalar.item() - 0.5 * math.log(v_min), abs=1e-12)
    published = torch.autograd.grad(scalar, [student, log_variance])
    for ours, theirs in zip(torch.autograd.grad(found, [student, log_variance]), published, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_vid_learns_the_mean_square_of_what_is_left(call, draw) -> None:
    student, teacher, labels = draw("vid", seed=3)
    left = (student - teacher).square().mean(dim=0) * teacher.shape[1]
    log_variance = (left - VARIANCE_FLOOR).log().requires_grad_()
    call("vid", student, teacher, labels, log_variance=log_variance).mean().backward()
    assert log_variance.grad.abs().max() <= 1e-12


def test_vid_starts_at_the_power_of_a_dimension_and_is_zero_at_best(call, draw) -> None:
    student, teacher, labels = draw("vid")
    start = METHODS["vid"].learned["log_variance"](128)
    assert variance(start).tolist() == pytest.approx([1 / 128] * 128, rel=2e-3)
    surest = torch.full((teacher.shape[1],), -1e3, dtype=torch.float64)
    assert (call("vid", teacher, teacher, labels, log_variance=surest) == 0).all()
    assert (call("vid", student, teacher, labels, log_variance=drawn_log_variance(5)) > 0).all()
