"""Each loss of the classifier against a scalar loop in float64, and its gradient against finite differences."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vgsr.students import head_losses

SCALE = 16.0
ANGLES = torch.linspace(0.0, math.pi, 400, dtype=torch.float64)


def cross_entropy(logits: list[float], label: int) -> float:
    top = max(logits)
    return top + math.log(sum(math.exp(logit - top) for logit in logits)) - logits[label]


def am(cosines: list[float], label: int, margin: float) -> float:
    return cross_entropy([SCALE * (c - margin * (j == label)) for j, c in enumerate(cosines)], label)


def further(cosine: float, margin: float) -> float:
    angle = math.acos(cosine)
    return math.cos(angle + margin) if angle + margin < math.pi else cosine - margin * math.sin(margin)


def nearer(cosine: float, margin: float) -> float:
    angle = math.acos(cosine)
    return math.cos(angle - margin) if angle > margin else cosine + margin * math.sin(margin)


def aam(cosines: list[float], label: int, margin: float, top_k: int, penalty: float) -> float:
    wrong = sorted((j for j in range(len(cosines)) if j != label), key=lambda j: -cosines[j])
    changed = list(cosines)
    changed[label] = further(cosines[label], margin)
    for j in wrong[:top_k]:
        changed[j] = nearer(cosines[j], penalty)
    return cross_entropy([SCALE * c for c in changed], label)


def sphereface2(
    cosines: list[float], label: int, bias: float, margin: float, angular: bool, weight: float, exponent: int
) -> float:
    def g(z: float) -> float:
        half = (z + 1) / 2
        return 2 * math.copysign(abs(half) ** exponent, half) - 1

    total = 0.0
    for j, cosine in enumerate(cosines):
        if j == label:
            value = g(further(cosine, margin)) if angular else g(cosine) - margin
            total += weight * math.log1p(math.exp(-SCALE * value - bias))
        else:
            value = g(nearer(cosine, margin)) if angular else g(cosine) + margin
            total += (1 - weight) * math.log1p(math.exp(SCALE * value + bias))
    return total


@st.composite
def cases(draw) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines [B, N] of any directions and labels [B]."""
    rows, speakers = draw(st.integers(1, 9)), draw(st.integers(2, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    cosines = (math.pi * torch.rand(rows, speakers, dtype=torch.float64, generator=generator)).cos()
    return cosines, torch.randint(speakers, (rows,), generator=generator)


margins = st.floats(0.0, 1.0)


def by_rows(loss, logits, labels, bias=None):
    bias = torch.zeros(1, dtype=torch.float64) if bias is None else bias
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head_losses, "PIECE", 2 * logits.shape[1])  # two rows at a time
        return head_losses.by_rows(loss, logits, labels, bias)


def same(found: torch.Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=1e-7, rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(cases(), margins)
def test_am_equals_the_scalar_loop(case, margin):
    cosines, labels = case
    found = by_rows(lambda x, y, _: head_losses.am(x, y, scale=SCALE, margin=margin), SCALE * cosines, labels)
    same(found, [am(row, y, margin) for row, y in zip(cosines.tolist(), labels.tolist(), strict=True)])


@settings(max_examples=60, deadline=None)
@given(cases(), margins, st.integers(0, 11), margins)
def test_aam_with_its_penalty_equals_the_scalar_loop(case, margin, top_k, penalty):
    cosines, labels = case
    top_k = min(top_k, cosines.shape[1] - 1)

    def loss(x, y, _):
        return head_losses.aam(x, y, scale=SCALE, margin=margin, top_k=top_k, penalty=penalty)

    rows = zip(cosines.tolist(), labels.tolist(), strict=True)
    same(by_rows(loss, SCALE * cosines, labels), [aam(row, y, margin, top_k, penalty) for row, y in rows])


@settings(max_examples=60, deadline=None)
@given(cases(), margins, st.booleans(), st.floats(0.05, 0.95), st.integers(1, 5), st.floats(-3, 3))
def test_sphereface2_equals_the_scalar_loop(case, margin, angular, weight, exponent, bias):
    cosines, labels = case
    options = {"margin": margin, "angular": angular, "positive_weight": weight, "exponent": exponent}

    def loss(x, y, b):
        return head_losses.sphereface2(x, y, b, scale=SCALE, **options)

    found = by_rows(loss, SCALE * cosines, labels, torch.tensor([bias], dtype=torch.float64))
    rows = zip(cosines.tolist(), labels.tolist(), strict=True)
    same(found, [sphereface2(row, y, bias, margin, angular, weight, exponent) for row, y in rows])


LOSSES = {
    "softmax": lambda x, y, b: head_losses.softmax(x, y),
    "am": lambda x, y, b: head_losses.am(x, y, scale=SCALE, margin=0.3),
    "aam": lambda x, y, b: head_losses.aam(x, y, scale=SCALE, margin=0.5, top_k=2, penalty=0.1),
    "sphereface2 C": lambda x, y, b: head_losses.sphereface2(
        x, y, b, scale=SCALE, margin=0.2, angular=False, positive_weight=0.7, exponent=3
    ),
    "sphereface2 A": lambda x, y, b: head_losses.sphereface2(
        x, y, b, scale=SCALE, margin=0.15, angular=True, positive_weight=0.7, exponent=2
    ),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("rows", [1, 5, 6])
def test_gradients_equal_finite_differences(name, rows):
    generator = torch.Generator().manual_seed(rows)
    cosines = (0.2 + 2.7 * torch.rand(rows, 7, dtype=torch.float64, generator=generator)).cos()
    labels = torch.randint(7, (rows,), generator=generator)
    logits, bias = (SCALE * cosines).requires_grad_(), torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, b: by_rows(LOSSES[name], x, labels, b), (logits, bias), atol=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, 1.4])
def test_margin_and_penalty_keep_the_order_of_angles(margin):
    # Past θ + margin = π too, and for θ < penalty: further away is never judged nearer.
    for change, sign in ((head_losses.with_margin, 1), (head_losses.with_penalty, -1)):
        changed = change(ANGLES.cos(), margin)
        assert (changed.diff() < 0).all()
        assert (sign * (ANGLES.cos() - changed) >= -1e-6).all()


@pytest.mark.parametrize("angular", [False, True])
@pytest.mark.parametrize("exponent", [1, 2, 3])
def test_sphereface2_rises_with_the_right_angle_and_falls_with_a_wrong_one(angular, exponent):
    def losses(right, wrong):
        return head_losses.sphereface2(
            SCALE * torch.stack((right, wrong), dim=1).cos(),
            torch.zeros(len(right), dtype=torch.int64),
            torch.zeros(len(right), dtype=torch.float64),
            scale=SCALE,
            margin=0.5,
            angular=angular,
            positive_weight=0.7,
            exponent=exponent,
        )

    away = torch.full_like(ANGLES, 1.5)
    assert (losses(ANGLES, away).diff() > 0).all()
    falls = losses(away, ANGLES).diff()
    assert (falls <= 0).all() and (falls[:300] < 0).all()  # at last by less than float64 can tell


def test_a_certain_row_has_its_tiny_loss():
    # In float32 the sum over all classes cannot hold this next to the right one.
    logits = torch.tensor([[30.0, -30.0, -30.0]])
    labels, bias = torch.tensor([0]), torch.zeros(1)
    found = head_losses.sphereface2(
        logits, labels, bias, scale=30.0, margin=0.0, angular=False, positive_weight=0.5, exponent=1
    )
    assert found.item() == pytest.approx(1.5 * math.exp(-30), rel=1e-4)


def test_without_a_gradient_there_is_none():
    logits, labels, bias = torch.randn(6, 5), torch.randint(5, (6,)), torch.zeros(1)
    assert not head_losses.by_rows(LOSSES["aam"], logits, labels, bias).requires_grad
    with torch.no_grad():
        assert not head_losses.by_rows(LOSSES["aam"], logits.requires_grad_(), labels, bias).requires_grad
