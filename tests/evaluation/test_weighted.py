"""The EER of a weighted list against `metrics.eer` of the list written out with its trials repeated."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vgsr.evaluation.metrics import eer
from vgsr.evaluation.weighted import rank, weighted_eers


@st.composite
def weighted_lists(draw):
    """Two systems' scores, mostly tied, on one list; and weights, of which some leave out a kind of trial."""
    target = draw(st.lists(st.booleans(), min_size=2, max_size=24).filter(lambda flags: any(flags) and not all(flags)))
    size = len(target)
    scores = [draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size)) for _ in range(2)]
    easy = draw(st.integers(-2, 6))  # from perfectly wrong to separated lists
    rows = draw(st.lists(st.lists(st.integers(0, 3), min_size=size, max_size=size), min_size=1, max_size=6))
    return [np.array(one) + easy * np.array(target) for one in scores], np.array(target), np.array(rows, dtype=np.int32)


@given(weighted_lists())
def test_it_is_the_eer_of_the_list_with_its_trials_repeated(drawn):
    systems, target, weights = drawn
    found = weighted_eers([rank(scores, target) for scores in systems], weights)
    for scores, own in zip(systems, found, strict=True):
        for row, value in zip(weights, own, strict=True):
            labels = np.repeat(target, row)
            if labels.any() and not labels.all():
                assert value == eer(np.repeat(scores, row), labels).value
            else:
                assert np.isnan(value)


def test_an_eer_far_from_the_lists_own_is_found():
    rng = np.random.default_rng(0)
    target = np.arange(4000) % 2 == 0
    scores = rng.normal(size=4000) + 5.0 * target
    wrong = ((scores > 2.5) != target) | (np.arange(4000) < 40)
    weights = np.where(wrong, 50, rng.integers(0, 2, 4000)).astype(np.int32)
    ranked = rank(scores, target)
    expected = eer(np.repeat(scores, weights), np.repeat(target, weights)).value
    assert expected > 10 * ranked.eer > 0
    assert weighted_eers([ranked], weights[None]).item() == expected
