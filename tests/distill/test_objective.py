"""The objective: the one-line formula against loops, and any method × margin × weighting."""

import io
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vgsr.distill import (
    METHODS,
    Margin,
    MethodError,
    Objective,
    ObjectiveError,
    Statistics,
    find,
    statistics,
    weights,
)

B = 8  # rows of `batch`
METHOD_NAMES = tuple(METHODS)  # before a test adds its own
MARGINS = [
    *itertools.product(("hinge", "softplus"), ("absolute",), (0.0, 0.05)),
    *itertools.product(("hinge", "softplus"), ("quantile",), (0.5,)),
]
COMBINE, APPLY_TO, NORM = ("product", "mean"), ("distillation", "classification", "both"), (False, True)
WEIGHTINGS = [None, *itertools.product(COMBINE, APPLY_TO, NORM)]


@pytest.fixture
def expected_discrepancies(call, centres) -> Callable[[str, dict[str, Tensor]], Tensor]:
    """D of the rows with a face, from the method's own function (itself tested against a loop)."""

    def expected(name: str, data: dict[str, Tensor]) -> Tensor:
        face = data["has_face"]
        s, t = data[own_leaf(name)][face], data["teacher"][face]
        if METHODS[name].level in ("logit", "classifier"):
            t = 32 * F.cosine_similarity(t[:, None], centres[None], dim=-1)
        if METHODS[name].level == "classifier":
            s = 32 * F.cosine_similarity(s[:, None], centres[None], dim=-1)
        return call(name, s, t, data["labels"][face])

    return expected


def own_leaf(name: str) -> str:
    return {"relation": "embedding", "logit": "logits"}.get(METHODS[name].level, "projected")


def counted_pairs(name: str, d: Tensor) -> Tensor:
    """Bool, the shape of D: the elements that take part."""
    alone = METHODS[name].level == "relation" and not METHODS[name].self_pairs
    return ~torch.eye(len(d), dtype=torch.bool) if alone else torch.ones_like(d, dtype=torch.bool)


def after(kind: str, x: float, mu: float, width: float) -> float:
    if kind == "hinge":
        return max(0.0, x - mu)
    return max(0.0, x - mu) + width * math.log1p(math.exp(-abs(x - mu) / width))


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize(("kind", "unit", "value"), MARGINS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_any_method_with_any_margin_and_any_weighting(
    name: str,
    kind: str,
    unit: str,
    value: float,
    weighting: tuple[str, str, bool] | None,
    batch,
    objective,
    signal_statistics,
    expected_discrepancies,
) -> None:
    combine, apply_to, norm = weighting or ("product", "distillation", False)
    known = signal_statistics if weighting else None
    whole = objective(
        name,
        Margin(kind, value, unit),
        weight=0.7,
        apply_to=apply_to,
        statistics=known,
        student_norm=norm,
        combine=combine,
    )
    data = batch()
    terms = whole(**data)
    taught = terms.taught[name]

    d = expected_discrepancies(name, data)
    mask = counted_pairs(name, d)
    counted = d[mask]
    mu = value if unit == "absolute" else counted.sort().values[-(-len(counted) // 2) - 1].item()
    width = 0.1 * counted.mean().item()
    face = data["has_face"]
    w = w_class = torch.ones(B, dtype=torch.float64)
    signals = data["signals"]
    if known and norm:
        length = data["embedding"].detach().norm(dim=1)
        signals = torch.cat([signals, length[:, None]], dim=1)
        own = statistics(length[:, None])
        known = Statistics(torch.cat([known.mean, own.mean]), torch.cat([known.std, own.std]))
    if known and apply_to != "classification":
        w = torch.zeros(B, dtype=torch.float64)
        w[face] = weights(signals[face], known, combine=combine)
    if known and apply_to != "distillation":
        w_class = weights(signals, known, combine=combine)
    total = 0.0
    for weight, row, counts in zip(w[face].tolist(), d.tolist(), mask.tolist(), strict=True):
        pairs = [x for x, counts_ in zip(row, counts, strict=True) if counts_] if isinstance(row, list) else [row]
        total += weight * sum(after(kind, x, mu, width) for x in pairs) / len(pairs)
    classification = sum((w_class * data["class_losses"]).tolist()) / B

    # Running statistics are kept in float32.
    assert taught.mu.item() == pytest.approx(mu, rel=1e-6)
    assert terms.distillation.item() == pytest.approx(0.7 * total / len(d), rel=1e-5, abs=1e-7)
    assert terms.classification.item() == pytest.approx(classification, rel=1e-5 if norm else 1e-12)
    assert terms.loss.item() == pytest.approx(classification + 0.7 * total / len(d), rel=1e-5)
    assert taught.discrepancy.item() == pytest.approx(counted.mean().item(), abs=1e-12)
    # A symmetric pair may lie on either side of its own quantile.
    assert taught.active.item() == pytest.approx((counted > mu).double().mean().item(), abs=2.5 / len(counted))
    applied = w[face] if apply_to == "distillation" else w_class
    assert terms.weight_spread.item() == pytest.approx(applied.std(correction=0).item(), abs=1e-5 if norm else 1e-9)

    terms.loss.backward()
    for leaf in {own_leaf(name), "class_losses"}:
        assert data[leaf].grad is not None and data[leaf].grad.isfinite().all()
    assert data[own_leaf(name)].grad[face].abs().sum() > 0
    assert (data[own_leaf(name)].grad[~face] == 0).all()
    assert not any(figure.requires_grad for figure in terms.figures().values())


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_inside_the_margin_the_student_is_free(name: str, batch, objective) -> None:
    data = batch()
    terms = objective(name, Margin(value=1e6))(**data)
    terms.loss.backward()
    assert terms.taught[name].active == 0 and terms.distillation == 0
    assert (data[own_leaf(name)].grad == 0).all()


@pytest.mark.parametrize(
    ("name", "faces"),
    [(name, 0) for name in METHOD_NAMES]
    + [(n, 1) for n in METHOD_NAMES if METHODS[n].level == "relation" or n == "infonce"],
)
def test_too_few_faces_give_an_exact_zero_that_keeps_the_graph(
    name: str, faces: int, batch, objective, signal_statistics
) -> None:
    data = batch()
    data["has_face"] = torch.arange(B) < faces
    margin = Margin("softplus", 0.5, "quantile")
    terms = objective(name, margin, statistics=signal_statistics, apply_to="both")(**data)
    assert terms.distillation == 0 and terms.distillation.requires_grad
    assert all(value.isfinite() for value in terms.figures().values())
    assert torch.equal(terms.loss, terms.classification)
    terms.loss.backward()
    assert (data[own_leaf(name)].grad == 0).all()
    assert margin.quantile.seen == margin.mean.seen == 0


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize("apply_to", ["distillation", "classification", "both"])
def test_weights_of_one_are_no_weights(name: str, apply_to: str, batch, objective) -> None:
    flat = statistics(torch.full((5, 2), 0.3, dtype=torch.float64))
    data = batch()
    one = objective(name, apply_to=apply_to, statistics=flat)(**data)
    none = objective(name, apply_to=apply_to)(**data)
    assert one.loss.item() == pytest.approx(none.loss.item(), rel=1e-14)
    assert one.weight_spread.item() == pytest.approx(0, abs=1e-14)


def test_without_a_method_there_is_only_classification(batch, signal_statistics) -> None:
    data = batch()
    data["projected"] = None
    terms = Objective([])(**data)
    assert torch.equal(terms.loss, data["class_losses"].mean())
    assert terms.distillation == terms.weight_spread == 0 and not terms.taught
    weighed = Objective([], statistics=signal_statistics, apply_to="both")(**data)
    expected = (weights(data["signals"], signal_statistics) * data["class_losses"]).mean()
    assert torch.allclose(weighed.loss, expected) and weighed.weight_spread > 0


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_margin_zero_is_lambda_times_the_mean_of_the_method(
    name: str, batch, objective, expected_discrepancies
) -> None:
    data = batch()
    terms = objective(name, weight=find(name).weight)(**data)
    d = expected_discrepancies(name, data)
    # Pairs of a row with itself, which are 0 where they do not count, are in the published means.
    pairs = len(d) / (len(d) - 1) if not counted_pairs(name, d).all() else 1.0
    mean = find(name).weight * d.mean().item() * pairs
    assert terms.distillation.item() == pytest.approx(mean, rel=1e-6, abs=1e-12)
    assert terms.taught[name].mu == 0


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_half_precision_is_computed_in_float32(name: str, batch, objective, expected_discrepancies) -> None:
    low = {k: v.detach().to(torch.bfloat16) if v.is_floating_point() else v for k, v in batch().items()}
    high = {k: v.double() if v.is_floating_point() else v for k, v in low.items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = objective(name)(**low)
    assert found.loss.dtype == torch.float32
    d = expected_discrepancies(name, high)
    assert found.distillation.item() == pytest.approx(d[counted_pairs(name, d)].mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_inputs_of_other_precision_follow_the_student(name: str, batch, objective, signal_statistics) -> None:
    data = batch(dtype=torch.float32)
    data["teacher"], data["signals"] = data["teacher"].double(), data["signals"].double()
    terms = objective(name, statistics=signal_statistics, student_norm=True)(**data)
    assert terms.loss.dtype == torch.float32
    terms.loss.backward()


def test_gradient_of_the_whole(batch, objective, signal_statistics) -> None:
    data = batch(seed=3)
    whole = objective("centres", Margin(value=0.02), statistics=signal_statistics, apply_to="both")

    def loss(class_losses: Tensor, projected: Tensor) -> Tensor:
        return whole(**{**data, "class_losses": class_losses, "projected": projected}).loss

    assert torch.autograd.gradcheck(loss, (data["class_losses"], data["projected"]))


@pytest.mark.parametrize("name", ["angle", "vid", "crd"])
def test_resumed_objective_continues_bit_for_bit(name: str, batch, distillation, signal_statistics) -> None:
    def fresh() -> Objective:
        distilled = distillation(name, margin=Margin("softplus", 0.3, "quantile"), options=OPTIONS.get(name))
        return Objective([distilled], statistics=signal_statistics, student_norm=True)

    batches = [batch(seed=seed) for seed in range(6)]
    whole, second = fresh(), fresh()
    expected = [whole(**data).loss for data in batches]
    first = fresh()
    for data in batches[:3]:
        first(**data)
    place = io.BytesIO()
    torch.save(first.state_dict(), place)
    second.load_state_dict(torch.load(io.BytesIO(place.getvalue()), weights_only=True))
    assert all(torch.equal(second(**d).loss, loss) for d, loss in zip(batches[3:], expected[3:], strict=True))


OPTIONS = {"crd": {"queue": 10}}


def test_two_methods_add_up(batch, distillation, objective, signal_statistics) -> None:
    data = batch()
    settings: dict[str, Any] = {"statistics": signal_statistics, "apply_to": "both"}
    both = Objective(
        [distillation("cosine", margin=Margin(value=0.2), weight=0.5), distillation("rkd_distance", weight=3.0)],
        **settings,
    )(**data)
    one = objective("cosine", Margin(value=0.2), weight=0.5, **settings)(**data)
    other = objective("rkd_distance", weight=3.0, **settings)(**data)
    assert both.distillation.item() == pytest.approx((one.distillation + other.distillation).item(), abs=1e-12)
    assert both.loss.item() == pytest.approx((one.loss + other.distillation).item(), abs=1e-12)
    figures = both.figures()
    assert figures["active_cosine"] == one.figures()["active"] and figures["mu_cosine"] == 0.2
    assert figures["discrepancy_rkd_distance"] == other.figures()["discrepancy"]
    assert "active" not in figures
    both.loss.backward()
    assert data["projected"].grad.abs().sum() > 0 and data["embedding"].grad.abs().sum() > 0


def test_the_students_norm_is_judged_by_its_running_statistics(batch) -> None:
    whole = Objective([], student_norm=True, apply_to="classification")
    data = batch()
    for scale in (1.0, 3.0):
        with torch.no_grad():
            data["embedding"] *= scale
        whole(**data)
    norm = data["embedding"].detach().norm(dim=1)
    old, new = 0.9 / 1.9, 1 / 1.9  # weights of the two batches in a bias-corrected average of momentum 0.9
    mean = old * (norm / 3).mean() + new * norm.mean()
    square = old * (norm / 3).square().mean() + new * norm.square().mean()
    known = Statistics(mean[None], (square - mean**2).sqrt()[None])
    terms = whole.eval()(**data)
    expected = (weights(norm[:, None], known) * data["class_losses"]).mean()
    assert terms.classification.item() == pytest.approx(expected.item(), rel=1e-6)


def test_settings_that_do_not_fit_are_refused(batch, distillation, objective) -> None:
    with pytest.raises(ObjectiveError, match="centres"):
        distillation("kd", centres=None)
    with pytest.raises(ObjectiveError, match="apply_to"):
        Objective([], apply_to="all")
    with pytest.raises(ObjectiveError, match="once only: cosine, cosine"):
        Objective([distillation("cosine"), distillation("cosine")])
    with pytest.raises(MethodError, match="'temperature'"):
        distillation("infonce", options={"temperatur": 0.1})
    for rows in (0, -3, 1.5):
        with pytest.raises(ObjectiveError, match="number of rows"):
            distillation("crd", options={"queue": rows})
    with pytest.raises(ObjectiveError, match="projected"):
        objective("cosine")(**{**batch(), "projected": None})
