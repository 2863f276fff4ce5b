"""Joining: nothing lost, nothing twice, order kept, long enough wherever that is possible."""

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr.corpora.joining import join
from vgsr.corpora.rows import Utterance
from vgsr.data import recordings


def spoken(speaker, genre, session, number, seconds):
    name = f"{genre}-{session:02d}-{number:03d}"
    own = f"{speaker}/{genre}-{session:02d}"
    return Utterance(f"{speaker}/{name}.wav", speaker, own, f"data/{speaker}/{name}.flac", 0.0, seconds)


def short(*sessions):
    """Utterances of one speaker and genre: the lengths of each session, in s."""
    return [
        spoken("id00001", "singing", session, number, seconds)
        for session, lengths in enumerate(sessions, 1)
        for number, seconds in enumerate(lengths, 1)
    ]


def lengths(joined):
    return [u.seconds for u in joined]


def test_consecutive_utterances_of_a_session_until_the_minimum():
    made = join(short([2, 2, 2, 4, 1]), 5)
    assert lengths(made) == [6, 5]
    assert made[0].utterance_id == "id00001/singing-01-001-comb3.wav"
    assert recordings.parts(made[0].uri) == [f"data/id00001/singing-01-{n:03d}.flac" for n in (1, 2, 3)]


def test_long_ones_stay_as_they_are():
    long = short([5, 7], [6])
    assert list(join(long, 5)) == long


def test_the_rest_of_a_session_joins_its_last_recording():
    assert lengths(join(short([6, 1], [5]), 5)) == [7, 5]


def test_a_session_that_is_too_short_goes_into_the_next():
    made = join(short([1, 1], [4, 5]), 5)
    assert lengths(made) == [6, 5]
    # The recording is of session 2, of which there is another one; session 1 is nowhere else.
    assert [u.session for u in made] == ["id00001/singing-02", "id00001/singing-02"]


def test_the_rest_of_a_genre_joins_its_last_recording():
    made = join(short([5, 5], [1], [2]), 5)
    assert lengths(made) == [5, 8] and {u.session for u in made} == {"id00001/singing-01"}


def test_a_genre_that_is_too_short_in_all_is_one_recording():
    made = join([*short([1], [2]), spoken("id00001", "speech", 1, 1, 1.0), spoken("id00002", "singing", 1, 1, 9.0)], 5)
    assert lengths(made) == [3, 1, 9]


LENGTH = st.floats(0.1, 9, allow_nan=False)
NAMES = st.tuples(
    st.sampled_from(["id00001", "id00002"]),
    st.sampled_from(["live_broadcast", "singing"]),
    st.integers(1, 120),
    st.integers(1, 12),
)


@given(st.dictionaries(NAMES, LENGTH, max_size=40), st.floats(0.1, 12), st.randoms())
def test_any_utterances(given_lengths, minimum, random):
    utterances = [spoken(*name, seconds) for name, seconds in given_lengths.items()]
    uris = {u.uri: u for u in utterances}
    random.shuffle(utterances)
    made = join(utterances, minimum)

    heard = [uris[part] for u in made for part in recordings.parts(u.uri)]
    assert len({u.utterance_id for u in made}) == len(made)
    # Nothing lost, nothing twice, and in the order of speaker, genre, session, utterance.
    assert [u.uri for u in heard] == [spoken(*name, 0).uri for name in sorted(given_lengths)]
    kind = {u.uri: (name[0], name[1]) for name, s in given_lengths.items() for u in [spoken(*name, s)]}
    for u in made:
        parts = [uris[part] for part in recordings.parts(u.uri)]
        assert len({kind[part.uri] for part in parts}) == 1 and u.speaker == parts[0].speaker
        assert u.seconds == pytest.approx(sum(part.seconds for part in parts))
        assert u.session in {part.session for part in parts}
    for _, group in groupby(made, key=lambda u: kind[recordings.parts(u.uri)[0]]):
        together = list(group)
        if sum(u.seconds for u in together) >= minimum + 1e-6:
            assert all(u.seconds >= minimum - 1e-9 for u in together)
        else:
            assert len(together) == 1
    # Recordings of different sessions have no session in common.
    for u in made:
        for other in made:
            if u.session != other.session:
                sessions = [{uris[part].session for part in recordings.parts(x.uri)} for x in (u, other)]
                assert not sessions[0] & sessions[1]


@given(st.lists(LENGTH, min_size=1, max_size=12), st.floats(0.1, 12))
def test_nothing_is_joined_that_is_long_enough_without(seconds, minimum):
    made = join(short(seconds), minimum)
    for u in made[:-1]:
        parts = [seconds[int(part[-8:-5]) - 1] for part in recordings.parts(u.uri)]
        assert sum(parts[:-1]) < minimum
