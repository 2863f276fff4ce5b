"""Splits by speaker: shares, minima, order, preferences."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr.corpora.registry import CorpusError
from vgsr.corpora.splits import split_speakers


def names(count):
    return [f"s{i:03d}" for i in range(count)]


@given(st.integers(6, 200), st.integers(0, 9), st.randoms(use_true_random=False))
def test_shares_and_independence_of_order(count, seed, random):
    split = split_speakers(names(count), validation=0.1, test=0.2, seed=seed)
    sizes = Counter(split.values())
    assert sizes["test"] == max(2, round(0.2 * count))
    assert sizes["validation"] == max(2, round(0.1 * count))
    assert sum(sizes.values()) == count
    shuffled = names(count) * 2
    random.shuffle(shuffled)
    assert split_speakers(shuffled, validation=0.1, test=0.2, seed=seed) == split


def test_another_seed_is_another_split():
    one, two = (split_speakers(names(50), validation=0.2, test=0.2, seed=seed) for seed in (1, 2))
    assert one != two


def test_preferred_speakers_are_tested():
    first = frozenset(names(50)[10:16])
    split = split_speakers(names(50), validation=0.1, test=0.2, seed=3, test_first=first)
    assert {split[name] for name in first} == {"test"}
    assert Counter(split.values())["test"] == 10


@pytest.mark.parametrize("count", range(2, 30))
def test_everybody_tests(count):
    assert set(split_speakers(names(count), validation=0, test=1, seed=0).values()) == {"test"}


@pytest.mark.parametrize("count", range(4, 30))
def test_nobody_trains_when_the_shares_say_so(count):
    assert set(split_speakers(names(count), validation=0.5, test=0.5, seed=0).values()) == {
        "test",
        "validation",
    }


@pytest.mark.parametrize(
    ("count", "validation", "test"),
    [(5, 0.1, 0.1), (1, 0, 1), (0, 0, 1), (3, 0.5, 0.5), (1, 1, 0), (3, 0, 0.9)],
)
def test_too_few_speakers_are_refused(count, validation, test):
    with pytest.raises(CorpusError, match=f"too few speakers: {count} found"):
        split_speakers(names(count), validation=validation, test=test, seed=0)


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.1), (0.1, 1.1), (0.6, 0.6), (float("nan"), 0.1)])
def test_impossible_shares_are_refused(validation, test):
    with pytest.raises(CorpusError, match="share"):
        split_speakers(names(20), validation=validation, test=test, seed=0)
