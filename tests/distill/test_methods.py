"""Every method against a loop over scalars written from its formula, and what all methods have in common."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vgsr.distill.methods import METHODS, MethodError, check_options, find, method

Rows = list[list[float]]
LABELS = torch.tensor([0, 1, 0, 2, 1, 3, 2])


def draw(name: str, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Student, teacher, labels that fit the method; relations get two different widths."""
    generator = torch.Generator().manual_seed(seed)
    width = {"relation": (4, 6)}.get(METHODS[name].level, (5, 5))
    student, teacher = (torch.randn(len(LABELS), w, generator=generator, dtype=dtype) for w in width)
    return student, teacher, LABELS


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cos(a: list[float], b: list[float]) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def softmax(row: list[float], temperature: float) -> list[float]:
    exponentials = [math.exp(x / temperature) for x in row]
    return [x / sum(exponentials) for x in exponentials]


def kl(student: list[float], teacher: list[float], temperature: float) -> float:
    q, p = softmax(student, temperature), softmax(teacher, temperature)
    return sum(pi * math.log(pi / qi) for pi, qi in zip(p, q, strict=True))


def relative_distances(rows: Rows) -> Rows:
    distances = [[math.dist(a, b) for b in rows] for a in rows]
    positive = [d for row in distances for d in row if d > 0]
    mean = sum(positive) / len(positive)
    return [[d / mean for d in row] for row in distances]


def loop_cosine(s: Rows, t: Rows, labels: list[int]) -> list[float]:
    return [1 - cos(a, b) for a, b in zip(s, t, strict=True)]


def loop_angle(s: Rows, t: Rows, labels: list[int]) -> list[float]:
    return [math.acos(cos(a, b)) for a, b in zip(s, t, strict=True)]


def loop_l2(s: Rows, t: Rows, labels: list[int]) -> list[float]:
    return [sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / len(a) for a, b in zip(s, t, strict=True)]


def loop_rkd_distance(s: Rows, t: Rows, labels: list[int]) -> Rows:
    def huber(x: float) -> float:
        return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5

    ds, dt = relative_distances(s), relative_distances(t)
    return [[huber(x - y) for x, y in zip(a, b, strict=True)] for a, b in zip(ds, dt, strict=True)]


def loop_infonce(s: Rows, t: Rows, labels: list[int]) -> list[float]:
    losses = []
    for anchor, label in zip(s, labels, strict=True):
        scores = [math.exp(cos(anchor, face) / 0.07) for face in t]
        same = [score for score, other in zip(scores, labels, strict=True) if other == label]
        losses.append(-math.log(sum(same) / sum(scores)))
    return losses


def loop_kd(s: Rows, t: Rows, labels: list[int]) -> list[float]:
    return [16 * kl(a, b, 4.0) for a, b in zip(s, t, strict=True)]


def loop_centres(s: Rows, t: Rows, labels: list[int]) -> list[float]:
    return [kl(a, b, 1.0) for a, b in zip(s, t, strict=True)]


LOOPS: dict[str, Callable[[Rows, Rows, list[int]], list[float] | Rows]] = {
    "cosine": loop_cosine,
    "angle": loop_angle,
    "l2": loop_l2,
    "rkd_distance": loop_rkd_distance,
    "infonce": loop_infonce,
    "kd": loop_kd,
    "centres": loop_centres,
}


def test_every_method_has_a_loop() -> None:
    assert set(LOOPS) == set(METHODS)


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("seed", range(3))
def test_matches_loop(name: str, seed: int) -> None:
    student, teacher, labels = draw(name, seed=seed)
    expected = torch.tensor(LOOPS[name](student.tolist(), teacher.tolist(), labels.tolist()), dtype=torch.float64)
    found = METHODS[name].function(student, teacher, labels)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-9


@pytest.mark.parametrize("name", LOOPS)
def test_permutation_of_the_batch_permutes_the_result(name: str) -> None:
    student, teacher, labels = draw(name)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    d = METHODS[name].function(student, teacher, labels)
    shuffled = METHODS[name].function(student[order], teacher[order], labels[order])
    expected = d[order] if d.dim() == 1 else d[order][:, order]
    assert torch.allclose(shuffled, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LOOPS)
def test_gradient(name: str) -> None:
    student, teacher, labels = draw(name)
    assert torch.autograd.gradcheck(
        lambda s, t: METHODS[name].function(s, t, labels),
        (student.requires_grad_(), teacher.requires_grad_()),
    )


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_where_student_equals_teacher_and_rows_repeat(name: str, dtype: torch.dtype) -> None:
    row = torch.randn(5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    for rows in (row.repeat(4, 1), torch.cat([row.repeat(3, 1), -row[None]])):
        student = rows.clone().requires_grad_()
        d = METHODS[name].function(student, rows, LABELS[:4])
        d.sum().backward()
        assert d.isfinite().all() and student.grad.isfinite().all()


@pytest.mark.parametrize("name", LOOPS)
def test_a_student_of_zeros_is_finite(name: str) -> None:
    _, teacher, labels = draw(name)
    student = torch.zeros_like(teacher, requires_grad=True)
    d = METHODS[name].function(student, teacher, labels)
    d.sum().backward()
    assert d.isfinite().all() and student.grad.isfinite().all()


@pytest.mark.parametrize("name", sorted(set(LOOPS) - {"infonce"}))
def test_agreement_is_zero(name: str) -> None:
    student, _, labels = draw(name)
    assert METHODS[name].function(student, student, labels).abs().max() <= 1e-12


def test_parity_of_means_with_public_scalars() -> None:
    student, teacher, labels = draw("kd", seed=7)
    means = {name: METHODS[name].function(student, teacher, labels).mean() for name in ("l2", "kd", "cosine")}
    log_s, p_t = F.log_softmax(student / 4, dim=1), F.softmax(teacher / 4, dim=1)
    assert torch.allclose(means["kd"], F.kl_div(log_s, p_t, reduction="batchmean") * 16, rtol=0, atol=1e-12)
    assert torch.allclose(means["l2"], F.mse_loss(student, teacher), rtol=0, atol=1e-12)
    ones = torch.ones(len(student))
    assert torch.allclose(means["cosine"], F.cosine_embedding_loss(student, teacher, ones), rtol=0, atol=1e-12)


def test_parity_of_rkd_with_its_gram_matrix_form() -> None:
    student, teacher, labels = draw("rkd_distance", seed=7)

    def potential(x: Tensor) -> Tensor:
        squares = x.square().sum(1)
        d = (squares[:, None] + squares[None, :] - 2 * x @ x.T).clamp_min(1e-12).sqrt()
        d = d.masked_fill(torch.eye(len(x), dtype=torch.bool), 0)
        return d / d[d > 0].mean()

    scalar = F.smooth_l1_loss(potential(student), potential(teacher))
    found = METHODS["rkd_distance"].function(student, teacher, labels)
    assert torch.allclose(found.mean(), scalar, rtol=0, atol=1e-12)
    assert (found.diagonal() == 0).all()


@pytest.mark.parametrize("radians", [1e-6, 1e-3, 1.0, 3.0, math.pi - 1e-3])
def test_angle_keeps_its_digits_in_float32(radians: float) -> None:
    # Exact inputs: the angle of the rounded vector is computed in float64.
    student = torch.tensor([[math.cos(radians), math.sin(radians)]])
    expected = math.atan2(student[0, 1].item(), student[0, 0].item())
    found = METHODS["angle"].function(student, torch.tensor([[1.0, 0.0]]), LABELS[:1]).item()
    assert found == pytest.approx(expected, rel=2e-6)


def test_several_positives_lower_infonce() -> None:
    student, teacher, labels = draw("infonce")
    alone = METHODS["infonce"].function(student, teacher, torch.arange(len(labels)))
    assert (METHODS["infonce"].function(student, teacher, labels) <= alone).all()
    everybody = METHODS["infonce"].function(student, teacher, torch.zeros_like(labels))
    assert everybody.abs().max() <= 1e-12


@pytest.mark.parametrize("name", LOOPS)
def test_description_is_complete(name: str) -> None:
    chosen = find(name)
    low, high = chosen.margin_range
    assert chosen.unit and chosen.paper and chosen.weight > 0 and 0 <= low < high
    assert chosen.function.__doc__


def test_unknown_names_the_nearest() -> None:
    with pytest.raises(MethodError, match=r"'cosinus'.*'cosine'"):
        find("cosinus")
    with pytest.raises(MethodError, match=r"'temprature'.*'temperature'"):
        check_options(find("kd"), {"temprature": 2.0})
    with pytest.raises(MethodError, match="there is: none"):
        check_options(find("l2"), {"temperature": 2.0})
    check_options(find("kd"), {"temperature": 2.0})
    assert find("kd").options == {"temperature": 4.0}


DESCRIPTION = {"unit": "u", "paper": "our definition", "weight": 1.0, "margin_range": (0.0, 1.0)}


def test_registration_refuses_what_cannot_be_a_method() -> None:
    def good(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        return student.sum(1)

    def bare_option(student: Tensor, teacher: Tensor, labels: Tensor, power: float) -> Tensor:
        return student.sum(1)

    def two(student: Tensor, teacher: Tensor) -> Tensor:
        return student.sum(1)

    before = dict(METHODS)
    with pytest.raises(MethodError, match="already"):
        method("cosine", level="embedding", **DESCRIPTION)(good)
    with pytest.raises(MethodError, match="embedding"):
        method("new", level="embeddings", **DESCRIPTION)(good)
    for function in (bare_option, two):
        with pytest.raises(MethodError, match="student, teacher, labels"):
            method("new", level="embedding", **DESCRIPTION)(function)
    assert before == METHODS


def test_the_same_function_may_register_again() -> None:
    chosen = METHODS["cosine"]
    decorate = method(
        "cosine",
        level="embedding",
        unit=chosen.unit,
        paper=chosen.paper,
        weight=chosen.weight,
        margin_range=chosen.margin_range,
    )
    assert decorate(chosen.function) is chosen.function
    assert METHODS["cosine"] == chosen
