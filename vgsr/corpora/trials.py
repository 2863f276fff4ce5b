"""Trial lists from held-out speakers: utterances in, `(label, enrol, test)` rows out.

The rule (our definition): a speaker's genuine trials are pairs of utterances from different sessions; a
speaker with one session gives pairs within it. At most `per_speaker` of them are drawn. For each genuine
trial of a speaker `ratio` nontarget trials are drawn whose enrolment is an utterance of that speaker, so no
speaker dominates either label. Nobody meets the same pair twice, in either direction, and utterances under
a second take no part.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Protocol

import numpy as np

from vgsr.data.manifest import Trial

SHORTEST = 1.0  # s
MOST_UTTERANCES = 200  # a speaker's utterances that are considered: all pairs grow with the square


class Spoken(Protocol):
    """What a trial needs to know of an utterance."""

    @property
    def utterance_id(self) -> str: ...
    @property
    def speaker(self) -> str: ...
    @property
    def session(self) -> str: ...
    @property
    def seconds(self) -> float: ...


def any_pair(enrol: Spoken, test: Spoken) -> bool:
    """Every pair may be a trial."""
    return True


def pairs(
    utterances: Iterable[Spoken],
    *,
    seed: int,
    name: str,
    per_speaker: int = 20,
    ratio: float = 5.0,
    across: bool = True,
    allowed: Callable[[Spoken, Spoken], bool] = any_pair,
) -> list[Trial]:
    """Trials among `utterances`, sorted, labels 1 (same speaker) and 0; the same for the same seed and name.

    across: prefer pairs of different sessions (False: only pairs within a session). allowed: a further,
    symmetric condition on pairs of either label, so that what it rules out does not tell the labels apart.
    """
    rng = np.random.default_rng([seed, 2, zlib.crc32(name.encode())])
    speakers = _by_speaker(utterances, rng)
    everyone = [u for spoken in speakers.values() for u in spoken]
    used: set[tuple[str, str]] = set()
    rows: list[Trial] = []
    for speaker, spoken in speakers.items():
        same = [pair for pair in combinations(spoken, 2) if allowed(*pair)]
        apart = [pair for pair in same if pair[0].session != pair[1].session]
        within = [pair for pair in same if pair[0].session == pair[1].session]
        genuine = (apart or within) if across else within
        chosen = rng.permutation(len(genuine))[:per_speaker]
        rows += [(1, genuine[i][0].utterance_id, genuine[i][1].utterance_id) for i in chosen]
        others = [u for u in everyone if u.speaker != speaker]
        wanted = round(len(chosen) * ratio)
        rows += [(0, *pair) for pair in _nontargets(spoken, others, wanted, rng, used, allowed)]
    return sorted(rows, key=lambda row: (-row[0], row[1], row[2]))


def _by_speaker(utterances: Iterable[Spoken], rng: np.random.Generator) -> dict[str, list[Spoken]]:
    groups: dict[str, list[Spoken]] = {}
    for utterance in sorted(utterances, key=lambda u: u.utterance_id):
        if utterance.seconds >= SHORTEST:
            groups.setdefault(utterance.speaker, []).append(utterance)
    for speaker, spoken in groups.items():
        if len(spoken) > MOST_UTTERANCES:
            kept = sorted(rng.permutation(len(spoken))[:MOST_UTTERANCES])
            groups[speaker] = [spoken[i] for i in kept]
    return dict(sorted(groups.items()))


def _nontargets(
    spoken: Sequence[Spoken],
    others: Sequence[Spoken],
    wanted: int,
    rng: np.random.Generator,
    used: set[tuple[str, str]],
    allowed: Callable[[Spoken, Spoken], bool],
) -> list[tuple[str, str]]:
    """Up to `wanted` new pairs, enrolment from `spoken`, test from `others`; `used` remembers them."""
    possible = len(spoken) * len(others)
    found: list[tuple[str, str]] = []
    # Twice as many as wanted, and all of them when that was not enough (many used up or not allowed).
    for drawn in (min(possible, 2 * wanted), possible):
        if len(found) >= wanted:
            break
        for index in rng.choice(possible, drawn, replace=False):
            enrol, test = spoken[index // len(others)], others[index % len(others)]
            key = (min(enrol.utterance_id, test.utterance_id), max(enrol.utterance_id, test.utterance_id))
            if len(found) < wanted and key not in used and allowed(enrol, test):
                used.add(key)
                found.append((enrol.utterance_id, test.utterance_id))
    return found
