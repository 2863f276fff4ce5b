"""One distillation: what a method costs to add, what it is given, and what is kept for it from batch to batch."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vgsr.distill import METHODS, Margin, Objective, ObjectiveError, Past
from vgsr.distill.methods import method

B = 8  # rows of `batch`


def test_options_reach_the_method(batch, distillation, centres) -> None:
    data = batch()
    terms = Objective([distillation("kd", options={"temperature": 2.0})])(**data)
    face = data["has_face"]
    teacher = 32 * F.cosine_similarity(data["teacher"][face][:, None], centres[None], dim=-1)
    log_s, p_t = F.log_softmax(data["logits"][face] / 2, 1), F.softmax(teacher / 2, 1)
    expected = 4 * F.kl_div(log_s, p_t, reduction="batchmean")
    assert terms.distillation.item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize(("level", "student"), [("embedding", "projected"), ("relation", "embedding")])
def test_a_queue_holds_the_newest_rows_of_earlier_batches(level: str, student: str, batch, distillation) -> None:
    seen: list[Past] = []

    @method("past", level=level, unit="u", paper="our definition", weight=1.0, margin_range=(0.0, 1.0), queue=10)
    def with_past(student: Tensor, teacher: Tensor, labels: Tensor, *, past: Past) -> Tensor:
        seen.append(past)
        return student.abs().mean(dim=1)

    try:
        whole = Objective([distillation("past")])
        batches = [batch(seed=seed) for seed in range(3)]
        for data in batches:
            whole(**data).loss.backward()
        whole.eval()(**batches[0])
        whole(**batches[1])
    finally:
        del METHODS["past"]
    rows = [{key: data[key][data["has_face"]].detach() for key in (student, "teacher", "labels")} for data in batches]
    assert [len(past.labels) for past in seen] == [0, 6, 10, 10, 10]
    for step in (1, 2, 3):
        newest = [rows[i] for i in reversed(range(step))]
        for key, found in zip((student, "teacher", "labels"), vars(seen[step]).values(), strict=True):
            assert torch.equal(found, torch.cat([one[key] for one in newest])[:10])
    assert torch.equal(seen[3].labels, seen[4].labels)  # evaluation remembers nothing
    assert not seen[2].student.requires_grad


def test_learned_tensors_are_parameters_that_learn(batch, objective) -> None:
    whole = objective("vid")
    parameters = dict(whole.named_parameters())
    assert len(parameters) == len(METHODS["vid"].learned) == 1
    whole(**batch()).loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in parameters.values())
    assert all(name in whole.state_dict() for name in parameters)
    assert not list(objective("cosine").parameters())


def test_a_method_costs_one_function(batch, distillation) -> None:
    @method("l4", level="embedding", unit="u⁴", paper="our definition", weight=2.0, margin_range=(0.0, 1.0))
    def l4(student: Tensor, teacher: Tensor, labels: Tensor, power: float = 4.0) -> Tensor:
        return (student - teacher).abs().pow(power).mean(dim=1)

    try:
        data = batch()
        face = data["has_face"]
        terms = Objective([distillation("l4", options={"power": 3.0}, margin=Margin(value=0.5))])(**data)
        d = (data["projected"] - data["teacher"]).abs().pow(3).mean(dim=1)[face]
        assert terms.distillation.item() == pytest.approx((d - 0.5).relu().mean().item(), abs=1e-12)
    finally:
        del METHODS["l4"]


def test_a_relation_never_sees_a_single_row(batch, objective) -> None:
    @method("pairs", level="relation", unit="u", paper="our definition", weight=1.0, margin_range=(0.0, 1.0))
    def pairs(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        assert len(student) > 1
        return (student @ student.T - teacher @ teacher.T).square()

    try:
        data = batch()
        assert objective("pairs")(**{**data, "has_face": torch.arange(B) < 1}).distillation == 0
        assert objective("pairs")(**{**data, "has_face": torch.arange(B) < 2}).distillation > 0
    finally:
        del METHODS["pairs"]


def test_a_reduced_method_is_refused(batch, objective) -> None:
    @method("reduced", level="embedding", unit="u", paper="our definition", weight=1.0, margin_range=(0.0, 1.0))
    def reduced(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        return (student - teacher).mean()

    try:
        with pytest.raises(ObjectiveError, match=r"'reduced'.*\[6\] or \[6, P\]"):
            objective("reduced")(**batch())
    finally:
        del METHODS["reduced"]
