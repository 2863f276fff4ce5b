"""The margin: exact freedom inside, the share outside, and a quantile that survives a restart."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vgsr.distill.margin import Margin, MarginError, hinge, softplus

D = torch.tensor([0.0, 0.1, 0.2, 0.5, 0.9], dtype=torch.float64)


def stream(batches: int, size: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(size, generator=generator) ** 2 for _ in range(batches)]


def test_hinge_is_the_formula_and_free_inside() -> None:
    d = D.clone().requires_grad_()
    hinge(d, 0.2).sum().backward()
    assert d.grad.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert hinge(D, 0.2).tolist() == [max(0.0, x - 0.2) for x in D.tolist()]


@given(st.floats(0, 5), st.floats(0, 5), st.floats(1e-3, 2))
def test_softplus_is_the_formula(d: float, mu: float, width: float) -> None:
    found = softplus(torch.tensor(d, dtype=torch.float64), mu, width).item()
    gap = abs(d - mu) / width
    assert found == pytest.approx(max(0.0, d - mu) + width * math.log1p(math.exp(-gap)), abs=1e-8)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_softplus_is_as_wide_as_its_share_of_the_running_mean(scale: float) -> None:
    margin, batches = Margin("softplus", 0.4 * scale, softness=0.2), [scale * batch for batch in stream(5, 50)]
    for batch in batches:
        margined = margin(batch)
    weights = [0.9 ** (4 - i) for i in range(5)]
    mean = sum(w * b.mean().item() for w, b in zip(weights, batches, strict=True)) / sum(weights)
    expected = softplus(batches[-1].double(), 0.4 * scale, 0.2 * mean)
    assert torch.allclose(margined.value.double(), expected, rtol=1e-5, atol=0)
    assert margined.active.item() == pytest.approx((batches[-1] > 0.4 * scale).float().mean().item())


def test_softplus_of_agreement_everywhere_is_finite() -> None:
    d = torch.zeros(4, requires_grad=True)
    margined = Margin("softplus", 0.0)(d)
    margined.value.sum().backward()
    assert margined.value.isfinite().all() and d.grad.isfinite().all()


def test_absolute_margin() -> None:
    margined = Margin(value=0.2)(D)
    assert margined.value.tolist() == [max(0.0, x - 0.2) for x in D.tolist()]
    assert margined.active.item() == pytest.approx(2 / 5)
    assert margined.mu.item() == 0.2


def test_margin_of_nothing() -> None:
    for unit in ("absolute", "quantile"):
        margined = Margin(value=0.5, unit=unit)(D[:0])
        assert margined.value.shape == (0,) and margined.active == 0 and margined.mu.isfinite()


@given(st.lists(st.floats(0, 10, width=32), min_size=1, max_size=30), st.floats(0, 10))
def test_active_share_counts_elements(values: list[float], mu: float) -> None:
    d = torch.tensor(values, dtype=torch.float64)
    assert Margin(value=mu)(d).active.item() == pytest.approx(sum(v > mu for v in values) / len(values))


@given(st.lists(st.floats(0, 10, width=32), min_size=1, max_size=30), st.floats(0, 1, exclude_max=True))
def test_first_batch_sets_its_own_quantile(values: list[float], level: float) -> None:
    mu = Margin(value=level, unit="quantile")(torch.tensor(values)).mu.item()
    rank = max(1, math.ceil(level * len(values)))
    assert mu == pytest.approx(sorted(values)[rank - 1], rel=1e-6, abs=1e-30)


@pytest.mark.parametrize("level", [0.0, 0.25, 0.5, 0.9])
def test_quantile_frees_its_share_of_a_stationary_stream(level: float) -> None:
    margin = Margin(value=level, unit="quantile")
    shares = [margin(d).active.item() for d in stream(60, 500)]
    assert sum(shares[10:]) / 50 == pytest.approx(1 - level, abs=0.01)


def test_quantile_is_the_bias_corrected_average() -> None:
    margin = Margin(value=0.5, unit="quantile")
    batches = stream(7, 99)
    for batch in batches:
        mu = margin(batch).mu.item()
    medians = [batch.median().item() for batch in batches]
    weights = [0.9 ** (len(batches) - 1 - i) for i in range(len(batches))]
    expected = sum(w * m for w, m in zip(weights, medians, strict=True)) / sum(weights)
    assert mu == pytest.approx(expected, rel=1e-5)


def test_quantile_needs_no_gradient_and_gives_none_inside() -> None:
    d = stream(1, 50)[0].requires_grad_()
    margined = Margin(value=0.5, unit="quantile")(d)
    assert not margined.mu.requires_grad and not margined.active.requires_grad
    margined.value.sum().backward()
    assert torch.equal(d.grad, (d > margined.mu).float())


def test_evaluation_does_not_learn() -> None:
    margin = Margin(value=0.5, unit="quantile").eval()
    first, second = stream(2, 99)
    assert margin(first).mu == first.median() and margin(second).mu == second.median()
    margin.train()(first)
    margin.eval()
    for _ in range(3):
        assert margin(second).mu.item() == pytest.approx(first.median().item())


def test_masked_elements_take_no_part() -> None:
    d = torch.rand(9, 9, generator=torch.Generator().manual_seed(1)) + 1
    d.fill_diagonal_(0)
    off = ~torch.eye(9, dtype=torch.bool)
    margined = Margin(value=0.5, unit="quantile")(d, off)
    assert margined.mu == d[off].sort().values[35]
    assert margined.active.item() == pytest.approx(0.5)
    assert torch.equal(margined.value, (d - margined.mu).relu() * off)
    d.fill_diagonal_(5)
    for kind in ("hinge", "softplus"):
        margined = Margin(kind, value=3.0)(d, off)
        assert margined.active == 0 and (margined.value.diagonal() == 0).all()


def test_an_overflow_does_not_poison_the_average() -> None:
    margin = Margin(value=0.5, unit="quantile")
    mu = margin(D.float()).mu
    for bad in (torch.full((5,), float("inf")), torch.full((5,), float("nan"))):
        assert margin(bad).mu.item() == pytest.approx(mu.item())
    assert margin(D.float()).mu.item() == pytest.approx(mu.item())


def test_resumed_margin_continues_bit_for_bit() -> None:
    batches = stream(20, 64)
    whole, first, second = (Margin("softplus", 0.7, "quantile") for _ in range(3))
    expected = [whole(batch) for batch in batches]
    for batch in batches[:9]:
        first(batch)
    second.load_state_dict(first.state_dict())
    for batch, margined in zip(batches[9:], expected[9:], strict=True):
        found = second(batch)
        assert torch.equal(found.mu, margined.mu) and torch.equal(found.value, margined.value)
    for name, buffer in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], buffer)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "hing"}, "'hinge'"),
        ({"unit": "quantil"}, "'quantile'"),
        ({"value": -0.1}, ">= 0"),
        ({"value": math.nan}, ">= 0"),
        ({"value": 1.0, "unit": "quantile"}, r"\[0, 1\)"),
        ({"kind": "softplus", "softness": 0.0}, "> 0"),
    ],
)
def test_impossible_margins_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(MarginError, match=message):
        Margin(**settings)
