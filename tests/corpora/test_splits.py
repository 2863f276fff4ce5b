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


FIXED = st.sampled_from(["train", "test", "validation", None])


@given(st.lists(FIXED, min_size=4, max_size=80), st.integers(0, 9), st.randoms(use_true_random=False))
def test_what_a_corpus_fixes_is_kept_and_the_rest_is_drawn(parts, seed, random):
    everybody = names(len(parts))
    fixed = {name: part for name, part in zip(everybody, parts, strict=True) if part}
    drawn_from = [name for name in everybody if fixed.get(name, "train") == "train"]
    shares = {part: 0.0 if part in parts else 0.25 for part in ("validation", "test")}
    wanted = {part: max(2, round(share * len(drawn_from))) if share else 0 for part, share in shares.items()}
    if drawn_from and len(drawn_from) < sum(wanted.values()) + 2:
        with pytest.raises(CorpusError, match="too few"):
            split_speakers(everybody, validation=0.25, test=0.25, seed=seed, fixed=fixed)
        return
    split = split_speakers(everybody, validation=0.25, test=0.25, seed=seed, fixed=fixed)
    assert set(split) == set(everybody)
    assert all(split[name] == part for name, part in fixed.items() if part != "train")
    assert Counter(split[name] for name in drawn_from) == Counter(
        {part: size for part, size in wanted.items() if size and drawn_from}
        | ({"train": len(drawn_from) - sum(wanted.values())} if drawn_from else {})
    )
    shuffled = everybody * 2
    random.shuffle(shuffled)
    more = fixed | {"somebody else": "test"}
    again = split_speakers(shuffled, validation=0.25, test=0.25, seed=seed, fixed=more)
    assert again == split


def test_whom_a_corpus_lets_train_are_drawn_from_like_those_it_does_not_name():
    shares = {"validation": 0.2, "test": 0.0, "seed": 3}
    plain = split_speakers(names(30), **shares)
    assert split_speakers(names(30), **shares, fixed=dict.fromkeys(names(30), "train")) == plain
    tested = {"t1": "test", "t2": "test"}
    assert split_speakers([*names(30), *tested], **shares, fixed=tested) == plain | tested


def test_nobody_is_drawn_where_everybody_is_fixed_to_test():
    fixed = dict.fromkeys(names(3), "test")
    assert split_speakers(names(3), validation=0.1, test=0.5, seed=0, fixed=fixed) == fixed


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
