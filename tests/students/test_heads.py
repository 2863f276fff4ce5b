"""The heads: every loss from embedding to number by a scalar loop, and the shapes and places of all that they say."""

import math
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vgsr.config import Classification
from vgsr.students import head_losses
from vgsr.students.heads import Heads, check

KINDS = {
    "aam": Classification(),
    "aam sub-centres": Classification(sub_centres=3),
    "aam top-k": Classification(top_k=2),
    "aam both": Classification(sub_centres=2, top_k=3, top_k_penalty=0.1),
    "am": Classification(loss="am"),
    "softmax": Classification(loss="softmax"),
    "sphereface2 C": Classification(loss="sphereface2"),
    "sphereface2 A": Classification(loss="sphereface2", margin=0.15, margin_type="angle"),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def oracle(embedding: list[float], centres: list[list[float]], label: int, scale: float, margin: float) -> float:
    """AAM-softmax of one utterance, number by number; centres of one speaker each."""
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


def batch(
    kind: str, seed: int, rows: int = 7, speakers: int = 5, dim: int = 4
) -> tuple[Heads, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed + 1_000_000)  # not the numbers of the centres
    torch.manual_seed(seed)
    heads = Heads(dim, speakers, KINDS[kind], teacher_dim=None)
    if heads.bias is not None:
        torch.nn.init.normal_(heads.bias)
    embedding = torch.randn(rows, dim, generator=generator)
    return heads, embedding, torch.randint(speakers, (rows,), generator=generator)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), margin=st.floats(0.0, 0.8))
def test_losses_equal_the_scalar_loop(seed: int, margin: float) -> None:
    heads, embedding, labels = batch("aam", seed)
    losses = heads(embedding, labels, margin).losses
    for loss, row, label in zip(losses, embedding.tolist(), labels.tolist(), strict=True):
        assert loss.item() == pytest.approx(oracle(row, heads.centres.tolist(), label, 32.0, margin), abs=2e-3)


@every_kind
def test_logits_are_what_is_said_of_them(kind: str) -> None:
    heads, embedding, labels = batch(kind, 11)
    centres, each = heads.centres.tolist(), KINDS[kind].sub_centres
    for row, vector in enumerate(embedding.tolist()):
        for speaker in range(5):
            own = centres[speaker * each : (speaker + 1) * each]
            if kind == "softmax":
                assert heads.bias is not None
                expected = sum(x * y for x, y in zip(vector, own[0], strict=True)) + heads.bias[speaker].item()
            else:
                expected = 32.0 * max(cosine(vector, centre) for centre in own)
            assert heads(embedding, labels, 0.2).logits[row, speaker].item() == pytest.approx(expected, abs=1e-4)


@every_kind
def test_a_margin_makes_it_harder_and_never_touches_the_logits(kind: str) -> None:
    heads, embedding, labels = batch(kind, 4)
    plain, hard = heads(embedding, labels, 0.0), heads(embedding, labels, 0.5)
    torch.testing.assert_close(plain.logits, hard.logits, rtol=0, atol=0)
    if kind == "softmax":
        torch.testing.assert_close(plain.losses, hard.losses, rtol=0, atol=0)
    else:
        assert (hard.losses > plain.losses).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("sphereface2")])
def test_margin_zero_is_plain_softmax(kind: str) -> None:
    heads, embedding, labels = batch(kind, 3)  # the penalty of the top k is 0 then too
    out = heads(embedding, labels, 0.0)
    torch.testing.assert_close(out.losses, torch.nn.functional.cross_entropy(out.logits, labels, reduction="none"))


@pytest.mark.parametrize(("margin", "penalty"), [(0.0, 0.0), (0.1, 0.03), (0.2, 0.06), (0.5, 0.06)])
def test_the_penalty_follows_the_margin_up_to_its_full_value(margin: float, penalty: float) -> None:
    heads, embedding, labels = batch("aam top-k", 5)
    out = heads(embedding, labels, margin)
    expected = head_losses.aam(out.logits, labels, scale=32.0, margin=margin, top_k=2, penalty=penalty)
    torch.testing.assert_close(out.losses, expected)


@every_kind
def test_shapes_projector_and_float32_under_autocast(kind: str) -> None:
    heads = Heads(6, 9, KINDS[kind], teacher_dim=11)
    embedding = torch.randn(4, 6, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = heads(embedding, torch.tensor([0, 8, 3, 3]), 0.2)
    assert out.projected is not None
    assert (out.losses.shape, out.logits.shape, out.projected.shape) == ((4,), (4, 9), (4, 11))
    assert {tensor.dtype for tensor in out} == {torch.float32}
    assert Heads(6, 9, KINDS[kind], teacher_dim=None)(embedding, torch.tensor([0, 8, 3, 3]), 0.2).projected is None


@every_kind
@pytest.mark.parametrize("rows", [0, 4])
def test_every_parameter_has_a_gradient(kind: str, rows: int) -> None:
    # Several workers wait for the gradients of all of them; a batch that could not be read has no row.
    heads, embedding, labels = batch(kind, 8, rows=rows)
    heads(embedding, labels, 0.2).losses.sum().backward()
    for name, parameter in heads.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.any()) == bool(rows), name


@every_kind
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradient_is_finite_where_embedding_and_centre_are_parallel(kind: str, sign: float) -> None:
    heads = Heads(3, 4, KINDS[kind], teacher_dim=None)
    embedding = (sign * heads.centres.detach()[:2]).requires_grad_()
    heads(embedding, torch.tensor([0, 1]), 0.5).losses.sum().backward()
    assert embedding.grad is not None and embedding.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in heads.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("kind", ["aam", "am", "sphereface2 C", "sphereface2 A"])
def test_a_large_margin_pulls_over_the_whole_circle(kind: str) -> None:
    heads = Heads(3, 2, KINDS[kind], teacher_dim=None)
    with torch.no_grad():
        heads.centres.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    angles = torch.linspace(0.02, math.pi - 0.02, 200).requires_grad_()
    embedding = torch.stack((angles.cos(), angles.sin(), torch.zeros(200)), dim=1)  # at 90° from the other centre
    losses = heads(embedding, torch.zeros(200, dtype=torch.int64), 0.5).losses
    losses.sum().backward()
    assert angles.grad is not None and angles.grad.isfinite().all()
    assert (losses.diff() > -1e-5).all() and losses[-1] > losses[0] + 10


class Kept:
    """A tensor that autograd keeps until the backward pass."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


@every_kind
def test_one_matrix_of_rows_and_speakers_is_kept(kind: str) -> None:
    # The gradient of the logits; with sub-centres also which of them is the nearest.
    expected = 1 if KINDS[kind].sub_centres == 1 else 2
    heads, embedding, labels = batch(kind, 2, rows=40, speakers=50)
    alive: weakref.WeakSet[Kept] = weakref.WeakSet()

    def keep(tensor: torch.Tensor) -> Kept:
        kept = Kept(tensor)
        alive.add(kept)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
        out = heads(embedding, labels, 0.2)
    assert sum(kept.tensor.numel() >= 40 * 50 for kept in alive) == expected
    assert out.losses.requires_grad


def test_too_few_speakers_for_the_top_k() -> None:
    check(Classification(top_k=4), 5)
    with pytest.raises(ValueError, match="top_k is 5, but 5 training speakers are 4 wrong classes"):
        check(Classification(top_k=5), 5)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"loss": "am", "sub_centres": 3}, "sub_centres: the loss 'am' has no such option"),
        ({"loss": "softmax", "scale": 30}, "scale: the loss 'softmax' has no such option .it has no options"),
        ({"loss": "sphereface2", "top_k": 5, "sub_centres": 2}, "sub_centres and top_k: the loss 'sphereface2'"),
        ({"margin_type": "angle"}, "margin_type: the loss 'aam'"),
        ({"top_k_penalty": 0.1}, "top_k_penalty without top_k"),
        ({"margin_start": 3, "margin_full": 2}, "margin_full lies before margin_start"),
    ],
)
def test_an_option_that_the_loss_has_not_is_an_error(written: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Classification.model_validate(written)


@every_kind
def test_settings_written_whole_are_read_again(kind: str) -> None:
    assert Classification.model_validate(KINDS[kind].model_dump(mode="json")) == KINDS[kind]
