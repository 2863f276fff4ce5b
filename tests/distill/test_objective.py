"""The objective: the one-line formula against loops, and any method × margin × weighting."""

import copy
import itertools

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
    find,
    statistics,
    weights,
)
from vgsr.distill.methods import method

B, SPEAKERS, WIDTH, TEACHER = 8, 5, 6, 4
NAN = float("nan")
METHOD_NAMES = tuple(METHODS)  # before a test adds its own
MARGINS = [("absolute", 0.0), ("absolute", 0.05), ("quantile", 0.5)]
WEIGHTINGS = [None, *itertools.product(("product", "mean"), ("distillation", "classification", "both"))]


def batch(*, seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """A batch with leaves that require gradients; rows 2 and 5 have no face and a NaN teacher row."""
    g = torch.Generator().manual_seed(seed)
    tensors = {
        "class_losses": torch.rand(B, generator=g, dtype=dtype),
        "embedding": torch.randn(B, WIDTH, generator=g, dtype=dtype),
        "projected": torch.randn(B, TEACHER, generator=g, dtype=dtype),
        "logits": 4 * torch.randn(B, SPEAKERS, generator=g, dtype=dtype),
    }
    for tensor in tensors.values():
        tensor.requires_grad_()
    teacher = torch.randn(B, TEACHER, generator=g, dtype=dtype)
    has_face = torch.ones(B, dtype=torch.bool)
    has_face[[2, 5]] = False
    teacher[~has_face] = NAN
    signals = torch.randn(B, 2, generator=g, dtype=dtype)
    signals[1, 0] = signals[2, 1] = NAN
    labels = torch.tensor([0, 1, 2, 0, 3, 4, 1, 0])
    return {**tensors, "teacher": teacher, "has_face": has_face, "labels": labels, "signals": signals}


CENTRES = torch.randn(SPEAKERS, TEACHER, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
SIGNAL_STATISTICS = statistics(torch.randn(50, 2, generator=torch.Generator().manual_seed(8), dtype=torch.float64))


def expected_discrepancies(name: str, data: dict[str, Tensor]) -> Tensor:
    """D of the rows with a face, from the method's own function (itself tested against a loop)."""
    face = data["has_face"]
    student = {"relation": "embedding", "logit": "logits"}.get(METHODS[name].level, "projected")
    s, t = data[student][face], data["teacher"][face]
    if METHODS[name].level in ("logit", "classifier"):
        t = 32 * F.cosine_similarity(t[:, None], CENTRES[None], dim=-1)
    if METHODS[name].level == "classifier":
        s = 32 * F.cosine_similarity(s[:, None], CENTRES[None], dim=-1)
    return METHODS[name].function(s, t, data["labels"][face])


def own_leaf(name: str) -> str:
    return {"relation": "embedding", "logit": "logits"}.get(METHODS[name].level, "projected")


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize(("unit", "value"), MARGINS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_any_method_with_any_margin_and_any_weighting(
    name: str, unit: str, value: float, weighting: tuple[str, str] | None
) -> None:
    combine, apply_to = weighting or ("product", "distillation")
    known = SIGNAL_STATISTICS if weighting else None
    objective = Objective(
        method=find(name),
        weight=0.7,
        margin=Margin("hinge", value, unit),
        apply_to=apply_to,
        statistics=known,
        combine=combine,
        centres=CENTRES,
    )
    data = batch()
    terms = objective(**data)

    d = expected_discrepancies(name, data)
    counted = d[~torch.eye(len(d), dtype=torch.bool)] if d.dim() == 2 else d
    mu = value if unit == "absolute" else counted.sort().values[-(-len(counted) // 2) - 1].item()
    face = data["has_face"]
    w = w_class = torch.ones(B, dtype=torch.float64)
    if known and apply_to != "classification":
        w = torch.zeros(B, dtype=torch.float64)
        w[face] = weights(data["signals"][face], known, combine=combine)
    if known and apply_to != "distillation":
        w_class = weights(data["signals"], known, combine=combine)
    total = 0.0
    for weight, row in zip(w[face].tolist(), d.tolist(), strict=True):
        pairs = row if isinstance(row, list) else [row]
        total += weight * sum(max(0.0, x - mu) for x in pairs) / len(pairs)
    classification = sum((w_class * data["class_losses"]).tolist()) / B

    assert terms.mu.item() == pytest.approx(mu, rel=1e-6)  # the running quantile is kept in float32
    assert terms.distillation.item() == pytest.approx(total / len(d), rel=1e-6, abs=1e-7)
    assert terms.classification.item() == pytest.approx(classification, abs=1e-12)
    assert terms.loss.item() == pytest.approx(classification + 0.7 * total / len(d), rel=1e-6)
    assert terms.discrepancy.item() == pytest.approx(d.mean().item(), abs=1e-12)
    assert terms.active.item() == pytest.approx((counted > mu).double().mean().item(), abs=1.5 / len(counted))
    applied = w[face] if apply_to == "distillation" else w_class
    assert terms.weight_spread.item() == pytest.approx(applied.std(correction=0).item(), abs=1e-9)

    terms.loss.backward()
    for leaf in {own_leaf(name), "class_losses"}:
        assert data[leaf].grad is not None and data[leaf].grad.isfinite().all()
    assert data[own_leaf(name)].grad[face].abs().sum() > 0
    assert (data[own_leaf(name)].grad[~face] == 0).all()
    assert not any(t.requires_grad for t in (terms.discrepancy, terms.active, terms.mu, terms.weight_spread))


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_inside_the_margin_the_student_is_free(name: str) -> None:
    data = batch()
    terms = Objective(method=find(name), margin=Margin(value=1e6), centres=CENTRES)(**data)
    terms.loss.backward()
    assert terms.active == 0 and terms.distillation == 0
    assert (data[own_leaf(name)].grad == 0).all()


@pytest.mark.parametrize(
    ("name", "faces"),
    [(name, 0) for name in METHOD_NAMES] + [(n, 1) for n in METHOD_NAMES if METHODS[n].level == "relation"],
)
def test_too_few_faces_give_an_exact_zero_that_keeps_the_graph(name: str, faces: int) -> None:
    data = batch()
    data["has_face"] = torch.arange(B) < faces
    objective = Objective(
        method=find(name),
        margin=Margin(value=0.5, unit="quantile"),
        statistics=SIGNAL_STATISTICS,
        apply_to="both",
        centres=CENTRES,
    )
    terms = objective(**data)
    assert terms.distillation == 0 and terms.distillation.requires_grad
    assert all(value.isfinite() for value in vars(terms).values())
    assert torch.equal(terms.loss, terms.classification)
    terms.loss.backward()
    assert (data[own_leaf(name)].grad == 0).all()
    assert objective.margin.seen == 0


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_rows_without_a_face_change_nothing(name: str) -> None:
    data = batch()
    face = data["has_face"]
    settings = {
        "method": find(name),
        "margin": Margin(value=0.01),
        "statistics": SIGNAL_STATISTICS,
        "centres": CENTRES,
    }
    whole = Objective(**settings)(**data)
    only = Objective(**settings)(**{key: value[face] for key, value in data.items()})
    for field in ("distillation", "discrepancy", "active", "mu", "weight_spread"):
        assert getattr(whole, field).item() == pytest.approx(getattr(only, field).item(), abs=1e-12)


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize("apply_to", ["distillation", "classification", "both"])
def test_weights_of_one_are_no_weights(name: str, apply_to: str) -> None:
    flat = statistics(torch.full((5, 2), 0.3, dtype=torch.float64))
    data = batch()
    one = Objective(method=find(name), margin=Margin(), apply_to=apply_to, statistics=flat, centres=CENTRES)(**data)
    none = Objective(method=find(name), margin=Margin(), apply_to=apply_to, centres=CENTRES)(**data)
    assert torch.equal(one.loss, none.loss) and one.weight_spread == 0


def test_without_a_method_there_is_only_classification() -> None:
    data = batch()
    data["projected"] = None
    terms = Objective(method=None, margin=Margin(value=0.5, unit="quantile"))(**data)
    assert torch.equal(terms.loss, data["class_losses"].mean())
    assert terms.distillation == terms.discrepancy == terms.active == terms.weight_spread == 0
    weighed = Objective(method=None, statistics=SIGNAL_STATISTICS, apply_to="both")(**data)
    expected = (weights(data["signals"], SIGNAL_STATISTICS) * data["class_losses"]).mean()
    assert torch.allclose(weighed.loss, expected) and weighed.weight_spread > 0


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_no_margin_is_the_mean_of_the_method(name: str) -> None:
    data = batch()
    terms = Objective(method=find(name), centres=CENTRES)(**data)
    mean = expected_discrepancies(name, data).mean()
    assert terms.distillation.item() == pytest.approx(mean.item(), abs=1e-12)
    assert terms.active == 1 and terms.mu == 0


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_half_precision_is_computed_in_float32(name: str) -> None:
    low = {k: v.detach().to(torch.bfloat16) if v.is_floating_point() else v for k, v in batch().items()}
    high = {k: v.double() if v.is_floating_point() else v for k, v in low.items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = Objective(method=find(name), centres=CENTRES.float())(**low)
    assert found.loss.dtype == torch.float32
    expected = expected_discrepancies(name, high)
    assert found.distillation.item() == pytest.approx(expected.mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_inputs_of_other_precision_follow_the_student(name: str) -> None:
    data = batch(dtype=torch.float32)
    data["teacher"], data["signals"] = data["teacher"].double(), data["signals"].double()
    terms = Objective(method=find(name), margin=Margin(), statistics=SIGNAL_STATISTICS, centres=CENTRES)(**data)
    assert terms.loss.dtype == torch.float32
    terms.loss.backward()


def test_gradient_of_the_whole() -> None:
    data = batch(seed=3)
    objective = Objective(
        method=find("centres"),
        margin=Margin(value=0.02),
        statistics=SIGNAL_STATISTICS,
        apply_to="both",
        centres=CENTRES,
    )

    def loss(class_losses: Tensor, projected: Tensor) -> Tensor:
        return objective(**{**data, "class_losses": class_losses, "projected": projected}).loss

    assert torch.autograd.gradcheck(loss, (data["class_losses"], data["projected"]))


def test_options_reach_the_method() -> None:
    data = batch()
    terms = Objective(method=find("kd"), options={"temperature": 2.0}, centres=CENTRES)(**data)
    face = data["has_face"]
    teacher = 32 * F.cosine_similarity(data["teacher"][face][:, None], CENTRES[None], dim=-1)
    log_s, p_t = F.log_softmax(data["logits"][face] / 2, 1), F.softmax(teacher / 2, 1)
    expected = 4 * F.kl_div(log_s, p_t, reduction="batchmean")
    assert terms.distillation.item() == pytest.approx(expected.item(), abs=1e-12)


def test_resumed_objective_continues_bit_for_bit() -> None:
    def fresh() -> Objective:
        margin = Margin(value=0.3, unit="quantile")
        return Objective(method=find("angle"), margin=margin, statistics=SIGNAL_STATISTICS)

    batches = [batch(seed=seed) for seed in range(6)]
    whole, second = fresh(), fresh()
    expected = [whole(**data).loss for data in batches]
    first = fresh()
    for data in batches[:3]:
        first(**data)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert all(torch.equal(second(**d).loss, loss) for d, loss in zip(batches[3:], expected[3:], strict=True))


def test_a_method_costs_one_function() -> None:
    @method("l4", level="embedding", unit="u⁴", paper="our definition", weight=2.0, margin_range=(0.0, 1.0))
    def l4(student: Tensor, teacher: Tensor, labels: Tensor, power: float = 4.0) -> Tensor:
        return (student - teacher).abs().pow(power).mean(dim=1)

    try:
        data = batch()
        face = data["has_face"]
        terms = Objective(method=find("l4"), options={"power": 3.0}, margin=Margin(value=0.5))(**data)
        d = (data["projected"] - data["teacher"]).abs().pow(3).mean(dim=1)[face]
        assert terms.distillation.item() == pytest.approx((d - 0.5).relu().mean().item(), abs=1e-12)
    finally:
        del METHODS["l4"]


def test_a_relation_never_sees_a_single_row() -> None:
    @method("pairs", level="relation", unit="u", paper="our definition", weight=1.0, margin_range=(0.0, 1.0))
    def pairs(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        assert len(student) > 1
        return (student @ student.T - teacher @ teacher.T).square()

    try:
        data = batch()
        objective = Objective(method=find("pairs"))
        assert objective(**{**data, "has_face": torch.arange(B) < 1}).distillation == 0
        assert objective(**{**data, "has_face": torch.arange(B) < 2}).distillation > 0
    finally:
        del METHODS["pairs"]


def test_a_reduced_method_is_refused() -> None:
    @method("reduced", level="embedding", unit="u", paper="our definition", weight=1.0, margin_range=(0.0, 1.0))
    def reduced(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        return (student - teacher).mean()

    try:
        with pytest.raises(ObjectiveError, match=r"'reduced'.*\[6\] or \[6, P\]"):
            Objective(method=find("reduced"))(**batch())
    finally:
        del METHODS["reduced"]


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ObjectiveError, match="centres"):
        Objective(method=find("kd"))
    with pytest.raises(ObjectiveError, match="apply_to"):
        Objective(method=None, apply_to="all")
    with pytest.raises(MethodError, match="'temperature'"):
        Objective(method=find("infonce"), options={"temperatur": 0.1})
    with pytest.raises(ObjectiveError, match="projected"):
        Objective(method=find("cosine"))(**{**batch(), "projected": None})
