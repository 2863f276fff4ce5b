"""Short utterances joined to longer ones: utterances of known length in, fewer and longer ones out.

The rule (our definition, after WeSpeaker's examples/cnceleb/v2/local/comb_cn1_cn2.sh, which joins consecutive
utterances of one speaker and genre until they last five seconds):

- The utterances of a speaker and genre are taken in their order, session by session. One after the other is added to
  a recording until it lasts at least the minimum; then the next recording begins.
- What is left over at the end of a session, too short, joins the last recording of that session; where a whole session
  is too short, it goes on into the next session of the genre.
- What is left over at the end of the genre joins the genre's last recording. A genre of which a speaker has less than
  the minimum in all becomes one recording, which is shorter. Nothing is lost, and genres are never mixed.

So every joined recording is a run of consecutive utterances. Its session is that of the utterance with which it
reached the minimum: the only session of which there may be other recordings, so that recordings of two different
sessions share none. The files stay as they are: the joined recording's uri names all of them (`recordings.joined`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import pyarrow.compute as pc

from vgsr.corpora.rows import Columns, Rows, Utterance, gather
from vgsr.data import recordings


def join(utterances: Rows, minimum: float) -> Columns[Utterance]:
    """The utterances, joined to recordings of at least `minimum` s where the speaker and genre have that much.

    An utterance's session is `SPEAKER/GENRE-NUMBER`; within it they are ordered by their ids.
    """
    table = gather(utterances, Utterance, []).table
    ordered = Columns(table.take(pc.sort_indices(table["speaker"])), Utterance)
    speakers = (list(spoken) for _, spoken in groupby(ordered, key=lambda u: u.speaker))
    return gather((u for spoken in speakers for u in _joined(spoken, minimum)), Utterance, [])


def _joined(spoken: Sequence[Utterance], minimum: float) -> Iterator[Utterance]:
    """The recordings of one speaker."""
    ordered = sorted(spoken, key=lambda u: (_genre(u), _number(u), u.utterance_id))
    for _, genre in groupby(ordered, key=_genre):
        for run, session in _runs(list(genre), minimum):
            yield united(run, session)


def united(run: Sequence[Utterance], session: str) -> Utterance:
    """One utterance of several, one behind the other: `ID-combN.wav` after the first of N, as WeSpeaker names it."""
    first = run[0]
    if len(run) == 1:
        return replace(first, session=session)
    return replace(
        first,
        utterance_id=f"{first.utterance_id.removesuffix('.wav')}-comb{len(run)}.wav",
        session=session,
        uri=recordings.joined([u.uri for u in run]),
        seconds=sum(u.seconds for u in run),
    )


def _runs(genre: Sequence[Utterance], minimum: float) -> list[tuple[list[Utterance], str]]:
    """The runs of one speaker and genre, each with its session."""
    runs: list[tuple[list[Utterance], str]] = []
    waiting: list[Utterance] = []
    for session, utterances in groupby(genre, key=lambda u: u.session):
        before = len(runs)
        for utterance in utterances:
            waiting.append(utterance)
            if sum(u.seconds for u in waiting) >= minimum:
                runs.append((waiting, session))
                waiting = []
        if len(runs) > before:
            runs[-1][0].extend(waiting)
            waiting = []
    if waiting and runs:
        runs[-1][0].extend(waiting)
    elif waiting:
        runs.append((waiting, waiting[0].session))
    return runs


def _genre(utterance: Utterance) -> str:
    return utterance.session.rpartition("-")[0]


def _number(utterance: Utterance) -> tuple[int, str]:
    number = utterance.session.rpartition("-")[2]
    return len(number), number
