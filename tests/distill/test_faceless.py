"""Rows and speakers without a face: distillation is that of the others alone, to the last bit, by every method."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vgsr.distill import METHODS, Margin, Objective, ObjectiveError, find

METHOD_NAMES = tuple(METHODS)  # before another test adds its own
OF_CENTRES = [name for name in METHOD_NAMES if METHODS[name].needs_centres]
OF_DISTILLATION = ("distillation", "discrepancy", "active", "mu", "weight_spread")
STUDENT = ("embedding", "projected", "logits")
masks = st.lists(st.booleans(), min_size=8, max_size=8).map(torch.tensor)


def faced(data, mask):
    """The batch with faces where `mask` says so, and its rows that have one alone; each with leaves of its own."""
    mixed = {**data, "has_face": mask, "teacher": data["teacher"].nan_to_num(0.3)}
    mixed["teacher"] = mixed["teacher"].where(mask[:, None], float("nan"))
    alone = {key: value[mask] for key, value in mixed.items()}
    return [
        {key: value.detach().requires_grad_() if key in STUDENT else value.detach() for key, value in batch.items()}
        for batch in (mixed, alone)
    ]


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize("kind", ["hinge", "softplus"])
@given(mask=masks, seed=st.integers(0, 3))
def test_a_mixed_batch_is_taught_as_its_rows_with_a_face(
    name, kind, batch, objective, signal_statistics, mask, seed
) -> None:
    found = []
    for data in faced(batch(seed=seed), mask):
        whole = objective(name, Margin(kind, 0.3, "quantile"), weight=0.7, statistics=signal_statistics)
        terms = whole(**data)
        terms.distillation.backward()
        figures = terms.figures()
        found.append((terms.taught[name].losses, figures, data, dict(whole.named_buffers())))
    (losses, figures, mixed, buffers), (own_losses, own_figures, alone, own_buffers) = found
    assert torch.equal(losses, own_losses)
    assert all(torch.equal(figures[figure], own_figures[figure]) for figure in OF_DISTILLATION)
    assert figures["taught"].item() == len(losses) / 8
    for key, value in buffers.items():
        assert torch.equal(value, own_buffers[key]), key
    for leaf in STUDENT:
        gradient = mixed[leaf].grad
        if gradient is not None:
            assert torch.equal(gradient[mask], alone[leaf].grad) and (gradient[~mask] == 0).all()


@pytest.mark.parametrize("name", OF_CENTRES)
def test_a_speaker_without_a_face_is_no_class(name, batch, centres, distillation) -> None:
    """As if the corpus had only the speakers with a face, whatever the student says of the others."""
    kept = torch.tensor([0, 1, 3])
    data = batch(seed=2)
    has_face = torch.isin(data["labels"], kept)
    data = {**data, "has_face": has_face, "teacher": data["teacher"].nan_to_num(0.3)}
    partial = centres.clone()
    partial[[2, 4]] = 0
    found = Objective([distillation(name, centres=partial)])(**data)
    others = {key: value[has_face] for key, value in data.items()}
    others["logits"], others["labels"] = others["logits"][:, kept], torch.searchsorted(kept, others["labels"])
    expected = Objective([distillation(name, centres=centres[kept])])(**others)
    assert torch.equal(found.taught[name].losses, expected.taught[name].losses)
    if METHODS[name].level == "logit":
        found.distillation.backward()
        assert (data["logits"].grad[:, [2, 4]] == 0).all() and data["logits"].grad[:, kept].abs().sum() > 0


@pytest.mark.parametrize("name", OF_CENTRES)
def test_one_speaker_with_a_face_cannot_be_told_from_others(name, centres, distillation) -> None:
    with pytest.raises(ObjectiveError, match=f"{name}.* 1 of the 5 training speakers has one"):
        distillation(name, centres=torch.cat([centres[:1], torch.zeros(4, 4)]))
    assert find(name).needs_centres
