"""AAM-softmax against a scalar loop in float64, and the shapes of all that the heads say."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vgsr.students.heads import Heads


def oracle(embedding: list[float], centres: list[list[float]], label: int, scale: float, margin: float) -> float:
    """Cross-entropy of one utterance, number by number."""

    def cosine(a: list[float], b: list[float]) -> float:
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))

    logits = []
    for number, centre in enumerate(centres):
        value = cosine(embedding, centre)
        if number == label:
            angle = math.acos(max(-1.0, min(1.0, value)))
            inside = angle + margin <= math.pi
            value = math.cos(angle + margin) if inside else value - margin * math.sin(margin)
        logits.append(scale * value)
    top = max(logits)
    return top + math.log(sum(math.exp(logit - top) for logit in logits)) - logits[label]


def batch(seed: int, rows: int = 7, speakers: int = 5, dim: int = 4) -> tuple[Heads, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed + 1_000_000)  # not the numbers of the centres
    torch.manual_seed(seed)
    heads = Heads(dim, speakers, scale=32.0, teacher_dim=None)
    embedding = torch.randn(rows, dim, generator=generator)
    return heads, embedding, torch.randint(speakers, (rows,), generator=generator)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), margin=st.floats(0.0, 0.8))
def test_losses_equal_the_scalar_loop(seed: int, margin: float) -> None:
    heads, embedding, labels = batch(seed)
    losses = heads(embedding, labels, margin).losses
    for loss, row, label in zip(losses, embedding.tolist(), labels.tolist(), strict=True):
        assert loss.item() == pytest.approx(oracle(row, heads.centres.tolist(), label, 32.0, margin), abs=2e-3)


def test_beyond_pi_the_fallback_holds_and_keeps_falling() -> None:
    heads = Heads(2, 2, scale=10.0, teacher_dim=None)
    with torch.no_grad():
        heads.centres.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    angles = torch.linspace(0.9 * math.pi, math.pi, 50)
    embedding = torch.stack((angles.cos(), -angles.sin()), dim=1)
    labels = torch.zeros(50, dtype=torch.int64)
    losses = heads(embedding, labels, 0.5).losses
    expected = [oracle(row, heads.centres.tolist(), 0, 10.0, 0.5) for row in embedding.tolist()]
    torch.testing.assert_close(losses, torch.tensor(expected), atol=1e-4, rtol=1e-5)
    assert losses[-1] > losses[0]


def test_margin_zero_is_plain_softmax() -> None:
    heads, embedding, labels = batch(3)
    out = heads(embedding, labels, 0.0)
    plain = torch.nn.functional.cross_entropy(out.logits, labels, reduction="none")
    torch.testing.assert_close(out.losses, plain)


def test_logits_never_carry_the_margin() -> None:
    heads, embedding, labels = batch(4)
    torch.testing.assert_close(heads(embedding, labels, 0.0).logits, heads(embedding, labels, 0.5).logits)
    assert (heads(embedding, labels, 0.5).losses > heads(embedding, labels, 0.0).losses).all()


def test_shapes_projector_and_float32_under_autocast() -> None:
    heads = Heads(6, 9, scale=30.0, teacher_dim=11)
    embedding = torch.randn(4, 6, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = heads(embedding, torch.tensor([0, 8, 3, 3]), 0.2)
    assert out.projected is not None
    assert (out.losses.shape, out.logits.shape, out.projected.shape) == ((4,), (4, 9), (4, 11))
    assert {tensor.dtype for tensor in out} == {torch.float32}
    assert Heads(6, 9, scale=30.0, teacher_dim=None)(embedding, torch.tensor([0, 8, 3, 3]), 0.2).projected is None


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradient_is_finite_where_embedding_and_centre_are_parallel(sign: float) -> None:
    heads = Heads(3, 4, scale=32.0, teacher_dim=None)
    embedding = (sign * heads.centres.detach()[:2]).requires_grad_()
    heads(embedding, torch.tensor([0, 1]), 0.2).losses.sum().backward()
    assert embedding.grad is not None
    assert embedding.grad.isfinite().all()
    assert heads.centres.grad is not None
    assert heads.centres.grad.isfinite().all()
