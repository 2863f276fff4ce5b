"""Quality weights: mean 1, monotone in the signal, within the floor, neutral where nothing is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from vgsr.distill.quality import QualityError, Statistics, statistics, weights

NAN = float("nan")
combines = pytest.mark.parametrize("combine", ["product", "mean"])
signals = arrays(
    "float64",
    st.tuples(st.integers(1, 12), st.integers(1, 3)),
    elements=st.one_of(st.floats(-50, 50), st.just(NAN)),
).map(torch.from_numpy)
temperatures, floors = st.floats(0.1, 10), st.floats(0, 1)


def unit(size: int) -> Statistics:
    return Statistics(torch.zeros(size, dtype=torch.float64), torch.ones(size, dtype=torch.float64))


def loop(values: list[list[float]], known: Statistics, temperature: float, floor: float, combine: str) -> list[float]:
    raw = []
    for row in values:
        scores = []
        for x, mean, std in zip(row, known.mean.tolist(), known.std.tolist(), strict=True):
            z = 0.0 if math.isnan(x) or std == 0 else (x - mean) / std
            scores.append(floor + (1 - floor) / (1 + math.exp(-z / temperature)))
        raw.append(math.prod(scores) ** (1 / len(scores)) if combine == "product" else sum(scores) / len(scores))
    return [w * len(raw) / sum(raw) for w in raw]


@combines
def test_weights_match_loop(combine: str) -> None:
    values = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4 + 1
    values[2, 1] = values[4, 0] = NAN
    known = statistics(values)
    found = weights(values, known, temperature=0.7, floor=0.2, combine=combine)
    expected = torch.tensor(loop(values.tolist(), known, 0.7, 0.2, combine), dtype=torch.float64)
    assert (found - expected).abs().max() <= 1e-12


@combines
@given(values=signals, temperature=temperatures, floor=floors)
@settings(deadline=None)
def test_mean_is_one_and_floor_holds(combine: str, values: Tensor, temperature: float, floor: float) -> None:
    w = weights(values, unit(values.shape[1]), temperature=temperature, floor=floor, combine=combine)
    assert w.mean().item() == pytest.approx(1, abs=1e-9)
    assert (w >= floor - 1e-9).all() and (w * floor <= 1 + 1e-9).all()


@combines
@given(values=signals, raised=st.floats(0.01, 20), data=st.data())
@settings(deadline=None)
def test_a_better_signal_never_weighs_less(combine: str, values: Tensor, raised: float, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(values) - 1))
    column = data.draw(st.integers(0, values.shape[1] - 1))
    better = values.clone()
    better[row, column] = values[row, column].nan_to_num(0) + raised
    before, after = (weights(v, unit(values.shape[1]), combine=combine)[row] for v in (values, better))
    assert after >= before - 1e-12


@combines
def test_unknown_is_neutral(combine: str) -> None:
    known = Statistics(torch.tensor([3.0, -1.0]), torch.tensor([2.0, 0.5]))
    missing, average = torch.tensor([[NAN, NAN], [5.0, NAN]]), torch.tensor([[3.0, -1.0], [5.0, -1.0]])
    assert torch.equal(weights(missing, known, combine=combine), weights(average, known, combine=combine))


def test_infinite_signals_are_the_extremes() -> None:
    w = weights(torch.tensor([[float("inf")], [0.0], [-float("inf")]]), Statistics(torch.zeros(1), torch.ones(1)))
    assert w.tolist() == pytest.approx([1 / 0.55, 1.0, 0.1 / 0.55], rel=1e-5)


def test_a_hopeless_batch_without_floor_still_has_mean_one() -> None:
    w = weights(torch.full((4, 1), -1e6), Statistics(torch.zeros(1), torch.ones(1)), floor=0.0)
    assert w.tolist() == pytest.approx([1.0] * 4)


def test_one_poor_signal_pulls_harder_under_product() -> None:
    values = torch.tensor([[3.0, -3.0], [0.5, 0.5]])
    known = Statistics(torch.zeros(2), torch.ones(2))
    assert weights(values, known, combine="product")[0] < weights(values, known, combine="mean")[0]


def test_statistics_ignore_what_is_not_known() -> None:
    column = [1.0, 2.0, 4.0, 8.0]
    values = torch.tensor([[x, NAN] for x in column] + [[NAN, NAN], [float("inf"), NAN]], dtype=torch.float64)
    known = statistics(values)
    mean = sum(column) / 4
    assert known.mean.tolist() == pytest.approx([mean, 0.0])
    assert known.std.tolist() == pytest.approx([math.sqrt(sum((x - mean) ** 2 for x in column) / 4), 0.0])


@pytest.mark.parametrize("value", [0.1, 1e6 + 0.3, -7.7])
def test_a_constant_signal_weighs_exactly_one(value: float) -> None:
    values = torch.full((1001, 1), value)
    known = statistics(values)
    assert known.std.item() == 0
    assert weights(torch.rand(7, 1), known).tolist() == [1.0] * 7


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 0.0}, {"floor": 1.5}, {"floor": -0.1}, {"combine": "minimum"}, {"temperature": NAN}],
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(QualityError, match=next(iter(wrong))):
        weights(torch.zeros(2, 1), Statistics(torch.zeros(1), torch.ones(1)), **wrong)


def test_signals_must_fit_their_statistics() -> None:
    with pytest.raises(QualityError, match="same signals"):
        weights(torch.zeros(2, 2), Statistics(torch.zeros(1), torch.ones(1)))
    with pytest.raises(QualityError, match="at least one"):
        weights(torch.zeros(2, 0), Statistics(torch.zeros(0), torch.ones(0)))
    with pytest.raises(QualityError, match="no samples"):
        statistics(torch.zeros(0, 2))
