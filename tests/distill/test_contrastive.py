"""Contrasts against loops over scalars, and who is contrasted with whom."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vgsr.distill.methods import METHODS, Past, check_options, find

Rows = list[list[float]]
FAMILY = [name for name, method in METHODS.items() if method.level == "contrastive"]
TEMPERATURE = 0.07


def critic(a: list[float], b: list[float]) -> float:
    lengths = math.hypot(*a) * math.hypot(*b)
    return math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / lengths / TEMPERATURE)


def loop_infonce(
    s: Rows, t: Rows, labels: list[int], past_s: Rows, past_t: Rows, past_labels: list[int]
) -> list[float]:
    losses = []
    for anchor, label in zip(s, labels, strict=True):
        scores = [critic(anchor, face) for face in t]
        same = [score for score, other in zip(scores, labels, strict=True) if other == label]
        losses.append(-math.log(sum(same) / sum(scores)))
    return losses


def crd_side(anchors: Rows, candidates: Rows, labels: list[int], candidate_labels: list[int]) -> list[float]:
    """The authors' arithmetic, with their data set of M samples, whose size must not matter."""
    data = 1000
    partners = [critic(anchor, candidates[i]) for i, anchor in enumerate(anchors)]
    others = [
        [critic(anchor, c) for c, other in zip(candidates, candidate_labels, strict=True) if other != label]
        for anchor, label in zip(anchors, labels, strict=True)
    ]
    everybody = partners + [score for row in others for score in row]
    z = sum(everybody) / len(everybody) * data
    losses = []
    for partner, row in zip(partners, others, strict=True):
        noise = len(row) / data
        right = (partner / z) / (partner / z + noise)
        rejected = [noise / (score / z + noise) for score in row]  # 1 - h, without the digits that 1 - would lose
        losses.append(-math.log(right) - sum(map(math.log, rejected)))
    return losses


def loop_crd(s: Rows, t: Rows, labels: list[int], past_s: Rows, past_t: Rows, past_labels: list[int]) -> list[float]:
    everybody = labels + past_labels
    sides = crd_side(s, t + past_t, labels, everybody), crd_side(t, s + past_s, labels, everybody)
    return [sum(both) for both in zip(*sides, strict=True)]


LOOPS: dict[str, Callable[..., list[float]]] = {"infonce": loop_infonce, "crd": loop_crd}


def plain(*tensors: Tensor) -> list:
    return [tensor.tolist() for tensor in tensors]


def test_every_method_has_a_loop() -> None:
    assert set(LOOPS) == set(FAMILY)


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("seed", range(3))
def test_matches_loop(name: str, seed: int, call, draw) -> None:
    batch = draw(name, seed)
    expected = LOOPS[name](*plain(*batch), [], [], [])
    assert call(name, *batch).tolist() == pytest.approx(expected, rel=0, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rows", [1, 4, 7])
def test_crd_with_a_past_matches_loop(seed: int, rows: int, call, draw) -> None:
    batch, before = draw("crd", seed), [tensor[:rows] for tensor in draw("crd", seed + 50)]
    expected = loop_crd(*plain(*batch), *plain(*before))
    assert call("crd", *batch, past=Past(*before)).tolist() == pytest.approx(expected, rel=0, abs=1e-9)


def test_several_positives_lower_infonce(call, draw) -> None:
    student, teacher, labels = draw("infonce")
    alone = call("infonce", student, teacher, torch.arange(len(labels)))
    assert (call("infonce", student, teacher, labels) <= alone).all()
    everybody = call("infonce", student, teacher, torch.zeros_like(labels))
    assert everybody.abs().max() <= 1e-12


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("remembered", [0, 3])
def test_crd_of_nobody_else_is_an_exact_zero(rows: int, remembered: int, call, draw) -> None:
    """One row, one identity, and a past of the same identity: there is nobody to tell it from."""
    student, teacher, _ = draw("crd")
    same = torch.zeros(7, dtype=torch.int64)
    past = Past(student[:remembered], teacher[:remembered], same[:remembered])
    leaf = student[:rows].clone().requires_grad_()
    d = call("crd", leaf, teacher[:rows], same[:rows], past=past)
    d.sum().backward()
    assert (d == 0).all() and (leaf.grad == 0).all()


def test_crd_of_one_identity_is_told_from_the_past(call, draw) -> None:
    student, teacher, labels = draw("crd")
    one = torch.full_like(labels, 9)
    d = call("crd", student, teacher, one, past=Past(student[:3], teacher[:3], labels[:3]))
    assert (d > 0).all()


def test_crd_leaves_out_the_same_person_of_the_past(call, draw) -> None:
    student, teacher, _ = draw("crd")
    two = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    before = draw("crd", seed=50)[0][:2], draw("crd", seed=51)[0][:2]
    alone = call("crd", student[:4], teacher[:4], two[:4], past=Past(student[4:], teacher[4:], two[4:]))
    more = Past(torch.cat([student[4:], before[0]]), torch.cat([teacher[4:], before[1]]), torch.tensor([1, 1, 1, 0, 0]))
    found = call("crd", student[:4], teacher[:4], two[:4], past=more)
    assert torch.allclose(found, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("people", [2, 5, 50])
def test_crd_of_perfect_agreement(people: int, call) -> None:
    """Orthogonal people: every partner scores E = exp(1/τ), everybody else 1."""
    rows = torch.eye(people, dtype=torch.float64)
    best, others = math.exp(1 / TEMPERATURE), people - 1
    noise = others * (best + others) / people
    expected = 2 * (math.log1p(noise / best) + others * math.log1p(1 / noise))
    found = call("crd", rows, rows, torch.arange(people))
    assert found.tolist() == pytest.approx([expected] * people, abs=1e-9)
    assert expected == pytest.approx(2 * math.log(2 - 1 / people), abs=0.01)  # as the docstring says


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("temperature", [0.07, 0.005])
def test_float32_survives_a_sharp_critic(name: str, temperature: float, call, realistic) -> None:
    # exp(0.7 / 0.005) is no number of float32: only sums of logarithms stay finite.
    student, teacher, labels = realistic(name)
    exact = call(name, student, teacher, labels, temperature=temperature)
    leaf = student.float().requires_grad_()
    found = call(name, leaf, teacher.float(), labels, temperature=temperature)
    found.sum().backward()
    assert leaf.grad.isfinite().all()
    assert torch.allclose(found.double(), exact, rtol=1e-3, atol=1e-4)


def test_the_queue_is_an_option() -> None:
    assert find("crd").options == {"temperature": 0.07, "queue": 1024}
    check_options(find("crd"), {"queue": 64})


def test_crd_sees_directions_only(call, draw, earlier) -> None:
    student, teacher, labels = draw("crd")
    d = call("crd", student, teacher, labels, **earlier("crd"))
    unit = call("crd", F.normalize(student, dim=1), 7 * teacher, labels, **earlier("crd"))
    assert torch.allclose(unit, d, rtol=0, atol=1e-12)
