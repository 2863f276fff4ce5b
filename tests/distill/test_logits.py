"""Methods on logits against loops over scalars, the published scalars, and what float32 must survive."""

import math
import statistics
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vgsr.distill.methods import METHODS

Rows = list[list[float]]
FAMILY = [name for name, method in METHODS.items() if method.level in ("logit", "classifier")]


def softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    exponentials = [math.exp(x / temperature) for x in row]
    return [x / sum(exponentials) for x in exponentials]


def divergence(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def kl(student: list[float], teacher: list[float], temperature: float = 1.0) -> float:
    return divergence(softmax(teacher, temperature), softmax(student, temperature))


def loop_kd(s: Rows, t: Rows, labels: list[int]) -> list[float]:
    return [16 * kl(a, b, 4.0) for a, b in zip(s, t, strict=True)]


def loop_centres(s: Rows, t: Rows, labels: list[int]) -> list[float]:
    return [kl(a, b) for a, b in zip(s, t, strict=True)]


def loop_dkd(s: Rows, t: Rows, labels: list[int]) -> list[float]:
    losses = []
    for a, b, own in zip(s, t, labels, strict=True):
        q, p = softmax(a, 4.0), softmax(b, 4.0)
        target = divergence([p[own], 1 - p[own]], [q[own], 1 - q[own]])
        among = [[x / (1 - row[own]) for i, x in enumerate(row) if i != own] for row in (p, q)]
        losses.append(16 * (target + 8 * divergence(*among)))
    return losses


def loop_lskd(s: Rows, t: Rows, labels: list[int]) -> list[float]:
    def z(row: list[float]) -> list[float]:
        mean, deviation = statistics.fmean(row), statistics.stdev(row)
        return [(x - mean) / (deviation + 1e-7) for x in row]

    return [4 * kl(z(a), z(b), 2.0) for a, b in zip(s, t, strict=True)]


def standardised(values: list[float]) -> list[float]:
    mean = sum(values) / len(values)
    length = math.hypot(*(x - mean for x in values))
    return [(x - mean) / length for x in values]


def loop_dist(s: Rows, t: Rows, labels: list[int]) -> list[float]:
    q, p = [softmax(row) for row in s], [softmax(row) for row in t]
    columns = [(standardised(list(a)), standardised(list(b))) for a, b in zip(zip(*q), zip(*p), strict=True)]  # noqa: B905
    losses = []
    for i, rows in enumerate(zip(q, p, strict=True)):
        correlation = sum(x * y for x, y in zip(*map(standardised, rows), strict=True))
        share = sum(0.5 * (a[i] - b[i]) ** 2 for a, b in columns) / len(columns)
        losses.append(1 - correlation + len(s) * share)
    return losses


LOOPS: dict[str, Callable[[Rows, Rows, list[int]], list[float]]] = {
    "kd": loop_kd,
    "dkd": loop_dkd,
    "dist": loop_dist,
    "lskd": loop_lskd,
    "centres": loop_centres,
}


def test_every_method_has_a_loop() -> None:
    assert set(LOOPS) == set(FAMILY)


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("seed", range(3))
def test_matches_loop(name: str, seed: int, call, draw) -> None:
    batch = draw(name, seed)
    expected = LOOPS[name](*(tensor.tolist() for tensor in batch))
    assert call(name, *batch).tolist() == pytest.approx(expected, rel=0, abs=1e-9)


def test_the_mean_of_kd_is_the_public_scalar(call, draw) -> None:
    student, teacher, labels = draw("kd", seed=7)
    log_s, p_t = F.log_softmax(student / 4, dim=1), F.softmax(teacher / 4, dim=1)
    expected = F.kl_div(log_s, p_t, reduction="batchmean") * 16
    assert call("kd", student, teacher, labels).mean().item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dkd_decouples_kd(temperature: float, call, draw) -> None:
    """Eq. 6 of the paper: KD = TCKD + (1 - p of the right speaker) · NCKD."""
    batch = _, teacher, labels = draw("dkd", seed=2)
    p = F.softmax(teacher / temperature, dim=1).gather(1, labels[:, None])[:, 0]
    target = call("dkd", *batch, temperature=temperature, alpha=1.0, beta=0.0)
    others = call("dkd", *batch, temperature=temperature, alpha=0.0, beta=1.0)
    whole = call("kd", *batch, temperature=temperature)
    assert torch.allclose(target + (1 - p) * others, whole, rtol=0, atol=1e-12)


def test_dkd_of_two_speakers_is_its_target_part(call, draw) -> None:
    student, teacher, _ = draw("dkd")
    labels = torch.tensor([0, 1, 0, 1, 1, 0, 1])
    d = call("dkd", student[:, :2], teacher[:, :2], labels)
    assert torch.allclose(d, call("kd", student[:, :2], teacher[:, :2], labels), rtol=0, atol=1e-12)


def test_the_mean_of_dist_is_one_minus_the_correlations(call, draw) -> None:
    student, teacher, labels = draw("dist", seed=7)
    q, p = F.softmax(student / 3, dim=1), F.softmax(teacher / 3, dim=1)

    def apart(a: Tensor, b: Tensor) -> float:
        return sum(1 - torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in zip(a, b, strict=True)) / len(a)

    found = call("dist", student, teacher, labels, temperature=3.0, beta=0.5, gamma=2.0).mean()
    assert found.item() == pytest.approx(9 * (0.5 * apart(q, p) + 2 * apart(q.T, p.T)), abs=1e-9)


def test_dist_of_one_row_has_no_columns_to_compare(call, draw) -> None:
    student, teacher, labels = (tensor[:1] for tensor in draw("dist"))
    rows_only = call("dist", student, teacher, labels, gamma=0.0)
    assert torch.equal(call("dist", student, teacher, labels), rows_only)


@pytest.mark.parametrize("logit", [0.0, 0.1, 31.7])
def test_dist_of_equal_posteriors(logit: float, call, draw) -> None:
    student, teacher, labels = draw("dist", dtype=torch.float32)
    level = torch.full_like(student, logit, requires_grad=True)
    assert (call("dist", level, level.detach(), labels) == 0).all()
    # A row and each column of the teacher alone have length 1; the columns' shares add up to that over rows.
    d = call("dist", level, teacher, labels)
    assert d.mean().item() == pytest.approx(0.5 + 0.5, abs=1e-6)
    d.sum().backward()
    assert (level.grad == 0).all()


@given(
    scale=st.lists(st.floats(0.1, 50), min_size=7, max_size=7),
    shift=st.lists(st.floats(-50, 50), min_size=7, max_size=7),
)
def test_lskd_ignores_level_and_spread_of_a_row(scale: list[float], shift: list[float], call, draw) -> None:
    student, teacher, labels = draw("lskd")
    a, b = (torch.tensor(values, dtype=torch.float64)[:, None] for values in (scale, shift))
    d = call("lskd", student, teacher, labels)
    assert torch.allclose(call("lskd", a * student + b, teacher, labels), d, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("certainty", [40.0, 200.0])
def test_float32_survives_certain_posteriors(name: str, certainty: float, call, realistic) -> None:
    """Posteriors of 1e-17 and of e^-200, which is no number of float32, on either side."""
    student, teacher, labels = realistic(name)
    student, teacher = (certainty / 32 * logits for logits in (student, teacher))
    temperature = {} if name == "centres" else {"temperature": 1.0}
    exact = call(name, student, teacher, labels, **temperature)
    leaf = student.float().requires_grad_()
    found = call(name, leaf, teacher.float(), labels, **temperature)
    found.sum().backward()
    assert leaf.grad.isfinite().all()
    assert torch.allclose(found.double(), exact, rtol=1e-4, atol=1e-4)
