"""Trial lists against brute force: labels, pairs, sessions, counts."""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgsr.corpora import trials


@dataclass(frozen=True)
class Said:
    utterance_id: str
    speaker: str
    session: str
    seconds: float = 2.0


def people(sizes: list[list[int]]) -> list[Said]:
    """One utterance for each unit: sizes[speaker][session]."""
    return [
        Said(f"s{p}-{s}-{u}", f"s{p}", f"session{s}")
        for p, sessions in enumerate(sizes)
        for s, count in enumerate(sessions)
        for u in range(count)
    ]


CORPORA = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=6).map(people)


@settings(max_examples=80, deadline=None)
@given(CORPORA, st.integers(0, 5), st.integers(1, 8), st.floats(0.5, 10), st.randoms(use_true_random=False))
def test_trials_are_what_they_say(said, seed, per_speaker, ratio, random):
    options = {"seed": seed, "name": "x", "per_speaker": per_speaker, "ratio": ratio}
    rows = trials.pairs(said, **options)
    by_id = {u.utterance_id: u for u in said}
    for label, enrol, test in rows:
        assert enrol != test
        assert label == (by_id[enrol].speaker == by_id[test].speaker)
    assert len({frozenset(row[1:]) for row in rows}) == len(rows)
    shuffled = list(said)
    random.shuffle(shuffled)
    assert trials.pairs(shuffled, **options) == rows


@settings(max_examples=60, deadline=None)
@given(CORPORA, st.integers(0, 5), st.integers(1, 8))
def test_genuine_trials_cross_sessions_where_there_are_several(said, seed, per_speaker):
    rows = trials.pairs(said, seed=seed, name="x", per_speaker=per_speaker)
    by_id = {u.utterance_id: u for u in said}
    got = Counter(by_id[enrol].speaker for label, enrol, _ in rows if label == 1)
    for speaker in {u.speaker for u in said}:
        every = [pair for pair in combinations([u for u in said if u.speaker == speaker], 2)]
        crossing = [pair for pair in every if pair[0].session != pair[1].session]
        assert got[speaker] == min(per_speaker, len(crossing or every))
        if crossing:
            own = [row for row in rows if row[0] == 1 and by_id[row[1]].speaker == speaker]
            assert all(by_id[enrol].session != by_id[test].session for _, enrol, test in own)


def test_nontargets_follow_the_ratio_and_every_speaker_alike():
    said = people([[3, 3]] * 10)
    rows = trials.pairs(said, seed=1, name="x", per_speaker=5, ratio=4)
    by_id = {u.utterance_id: u for u in said}
    enrolled = Counter((label, by_id[enrol].speaker) for label, enrol, _ in rows)
    assert set(enrolled.values()) == {5, 20}
    assert sum(label for label, *_ in rows) == 50 and len(rows) == 250


def test_nontargets_are_exhausted_not_repeated():
    rows = trials.pairs(people([[2], [2]]), seed=1, name="x", ratio=10)
    assert Counter(label for label, *_ in rows) == {1: 2, 0: 4}


def test_seed_and_name_change_the_draw():
    said = people([[4, 4]] * 6)
    first = trials.pairs(said, seed=1, name="x", per_speaker=3)
    assert first != trials.pairs(said, seed=2, name="x", per_speaker=3)
    assert first != trials.pairs(said, seed=1, name="y", per_speaker=3)


def test_short_utterances_take_no_part():
    said = people([[2, 2], [2, 2]])
    said[0] = replace(said[0], seconds=0.99)
    rows = trials.pairs(said, seed=1, name="x")
    assert said[0].utterance_id not in {name for row in rows for name in row[1:]}


def test_within_sessions_only():
    said = people([[2, 2], [2, 1], [1, 1]])
    rows = [row for row in trials.pairs(said, seed=1, name="x", across=False) if row[0] == 1]
    assert rows == [(1, "s0-0-0", "s0-0-1"), (1, "s0-1-0", "s0-1-1"), (1, "s1-0-0", "s1-0-1")]


def test_a_condition_holds_for_both_labels():
    def different_last(a, b):
        return a.utterance_id[-1] != b.utterance_id[-1]

    rows = trials.pairs(people([[3]] * 5), seed=1, name="x", allowed=different_last)
    assert {label for label, *_ in rows} == {0, 1}
    assert all(enrol[-1] != test[-1] for _, enrol, test in rows)


@pytest.mark.parametrize("said", [[], people([[1]]), people([[1], [1]])])
def test_no_genuine_pair_no_trials(said):
    assert trials.pairs(said, seed=0, name="x") == []


def test_many_utterances_of_one_speaker_stay_bounded():
    rows = trials.pairs(people([[1500, 1500], [5, 5]]), seed=0, name="x", per_speaker=30, ratio=2)
    assert sum(label for label, *_ in rows) == 30 + 25
