"""Classes of persons at several speeds: what a teacher compares, by plain indexing."""

import pytest
import torch

from vgsr.training.classes import of_persons

PERSONS = 5


@pytest.mark.parametrize("speeds", [1, 3])
def test_a_rows_logits_are_those_at_its_own_speed(speeds):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(12, speeds * PERSONS, generator=g)
    labels = torch.randint(speeds * PERSONS, (12,), generator=g)
    own, persons = of_persons(logits, labels, PERSONS)
    for row, label in enumerate(labels.tolist()):
        speed, person = divmod(label, PERSONS)
        assert persons[row] == person
        assert torch.equal(own[row], torch.stack([logits[row, speed * PERSONS + one] for one in range(PERSONS)]))
        assert own[row, person] == logits[row, label]


def test_gradients_reach_the_classes_of_a_rows_own_speed_only():
    logits = torch.randn(2, 3 * PERSONS, requires_grad=True)
    of_persons(logits, torch.tensor([2, PERSONS + 3]), PERSONS)[0].sum().backward()
    expected = torch.zeros(2, 3 * PERSONS)
    expected[0, :PERSONS], expected[1, PERSONS : 2 * PERSONS] = 1, 1
    assert torch.equal(logits.grad, expected)
