"""Which faces teach which utterance, and the controls.

In: the training utterances and a teacher bank. Out: for each utterance the bank rows it may draw from (its session's
faces, else its speaker's), the directions of those rows, and the teacher's class centres. A million utterances and a
million faces are a few flat arrays here; the embeddings stay in the bank's file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vgsr.teachers.bank import Bank
from vgsr.teachers.coverage import Coverage
from vgsr.teachers.lists import Lists, grouped
from vgsr.teachers.vectors import InMemory, Vectors

QUALITY_COLUMNS = ("face_norm", "face_sharpness", "face_detection", "face_pose", "face_agreement")

Names: TypeAlias = Sequence[str] | pa.ChunkedArray


class PairingError(Exception):
    """A bank that cannot teach this corpus; the text says why."""


@dataclass(frozen=True, eq=False)
class Pairing:
    """Faces of the training utterances.

    faces: for each utterance the faces it may draw from (empty: none). embeddings: theirs, raw `[n, d]`. averaged: the
    rows of `embeddings` that each face is the mean of, where utterances are taught by means. quality: `{name: [n]}`, of
    each face, NaN where unknown. centres: `[speakers, d]` float32, unit length, in the order of `speakers`; zero where
    a speaker has no face.
    """

    faces: Lists
    embeddings: Vectors
    quality: dict[str, np.ndarray]
    centres: np.ndarray
    averaged: Lists | None = None

    @property
    def dimension(self) -> int:
        """Of the teacher's embeddings."""
        return self.embeddings.dimension

    @property
    def coverage(self) -> Coverage:
        """How many of the utterances and of the speakers have a face."""
        seen = self.faces.lengths[self.faces.of] > 0
        return Coverage(float(np.mean(seen)), float(np.mean(self.centres.any(axis=1))))

    def direction(self, face: int) -> np.ndarray:
        """What a face teaches: `[d]` float32 of unit length. Direction is identity; the length that a network gives a
        face is a quality signal (`face_norm`)."""
        if self.averaged is None:
            return _unit(self.embeddings.take([face]))[0]
        return _centre(_unit(self.embeddings.take(self.averaged.members(face))))


def pair(
    utterance_speakers: Names,
    utterance_sessions: Names,
    speakers: Sequence[str],
    bank: Bank,
    *,
    control: str = "none",
    average: bool = False,
    seed: int = 0,
) -> Pairing:
    """Pair utterances with faces by session, else by speaker.

    control `shuffled`: every speaker is taught by another speaker's faces (one fixed cycle over the speakers that
    have any); `random`: every speaker has one fixed random direction instead of faces (both our definition). With
    `average` an utterance has one face, the mean of its unit-length faces. PairingError when no utterance has a face.
    """
    label = _place(utterance_speakers, speakers)
    owner = _place(bank.table["speaker"], speakers)  # of each face, -1 for people who are not trained on
    usable, centres = _means(bank.embeddings, owner, len(speakers))
    faces = np.flatnonzero(usable & (owner >= 0))
    if not len(faces):
        raise PairingError(
            f"teacher bank {bank.model}: "
            + (
                f"none of its {usable.sum()} embedded faces belongs to one of the {len(set(speakers))} training "
                "speakers; was it made from another manifest?"
                if usable.any()
                else f"none of its {len(usable)} faces has an embedding, so it can teach nobody; distill.method=none "
                "trains without a teacher"
            )
        )
    if control == "random":
        return _random(label, len(speakers), bank.dimension, seed)
    taught_by = np.arange(len(speakers))
    if control == "shuffled":
        taught_by = _cycle(speakers, np.unique(owner[faces]), seed)
    lists = _lists(label, utterance_sessions, bank.table["session"], owner, faces, taught_by, control == "none")
    quality = {name: np.asarray(bank.table[name].to_numpy(), np.float32) for name in QUALITY_COLUMNS}
    centres = np.where((taught_by >= 0)[:, None], centres[taught_by], np.float32(0))
    if not average:
        return Pairing(lists, bank.embeddings, quality, centres)
    single = (lists.lengths > 0).astype(np.int64)
    one = Lists(lists.of, np.concatenate([[0], np.cumsum(single)]), np.flatnonzero(single))
    return Pairing(one, bank.embeddings, _mean_quality(lists, quality), centres, averaged=lists)


def _place(names: Names, among: Sequence[str]) -> np.ndarray:
    """The place `[n]` of each name in `among`; -1 where it is not there."""
    given = names if isinstance(names, pa.ChunkedArray) else pa.chunked_array([pa.array(names, pa.string())])
    found = pc.index_in(given, value_set=pa.array(among, pa.string()))
    return np.asarray(pc.fill_null(found, -1).to_numpy(), np.int32)


def _lists(
    label: np.ndarray,
    utterance_sessions: Names,
    face_sessions: pa.ChunkedArray,
    owner: np.ndarray,
    faces: np.ndarray,
    taught_by: np.ndarray,
    by_session: bool,
) -> Lists:
    """The faces of each utterance: first the lists of sessions (where they count), then those of speakers."""
    people = len(taught_by)
    empty = people
    starts, rows = grouped(owner[faces], faces, people)
    of = np.where(label >= 0, taught_by[label], -1)
    if not by_session:
        return _with_empty(of, starts, rows, empty)
    names = face_sessions.unique()
    keys = owner[faces].astype(np.int64) * len(names) + _place(face_sessions, names)[faces]
    known, number = np.unique(keys, return_inverse=True)
    session_starts, session_rows = grouped(number, faces, len(known))
    session = _place(utterance_sessions, names)
    wanted = label.astype(np.int64) * len(names) + session
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    own = (label >= 0) & (session >= 0) & (known[at] == wanted)
    of = np.where(own, at, np.where(of >= 0, of + len(known), -1))
    starts = np.concatenate([session_starts[:-2], len(session_rows) + starts])
    return _with_empty(of, starts, np.concatenate([session_rows, rows]), empty + len(known))


def _with_empty(of: np.ndarray, starts: np.ndarray, rows: np.ndarray, empty: int) -> Lists:
    return Lists(np.where(of >= 0, of, empty).astype(np.int32), starts, rows)


def _unit(raw: np.ndarray) -> np.ndarray:
    """Rows [n, d] at unit length."""
    return raw / np.linalg.norm(raw, axis=1, keepdims=True).clip(1e-12)


def _centre(units: np.ndarray) -> np.ndarray:
    """Unit-length mean of unit-length faces `[k, d]`: `[d]`."""
    return _shortened(units.mean(axis=0))


def _shortened(mean: np.ndarray) -> np.ndarray:
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)


def _means(embeddings: Vectors, owner: np.ndarray, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Which embeddings can be used `[n]`, and the unit-length means `[people, d]` of those of each of `people`.

    One pass over the file. Faces are summed in their order, as `_centre` does, so that both have the same last bit.
    """
    usable = np.zeros(len(owner), bool)
    sums = np.zeros((people, embeddings.dimension), np.float32)
    counts = np.zeros(people, np.int64)
    done = 0
    for block in embeddings.blocks():
        units = _unit(block)
        good = np.isfinite(units).all(axis=1)
        usable[done : done + len(block)] = good
        whose = owner[done : done + len(block)]
        done += len(block)
        mine = np.flatnonzero(good & (whose >= 0))
        for person, rows in _runs(whose[mine], mine):
            before = sums[person : person + 1] if counts[person] else sums[:0]
            sums[person] = np.add.reduce(np.concatenate([before, units[rows]]), axis=0)
            counts[person] += len(rows)
    for person in np.flatnonzero(counts).tolist():
        sums[person] = _shortened(sums[person] / np.float32(counts[person]))
    return usable, sums


def _runs(keys: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each key, and its rows in their order."""
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    for part in np.split(order, ends) if len(order) else ():
        yield int(keys[part[0]]), rows[part]


def _cycle(speakers: Sequence[str], taught: np.ndarray, seed: int) -> np.ndarray:
    """For each speaker another, of those that have faces; -1 for one who has none."""
    if len(taught) < 2:
        raise PairingError("the shuffled control needs faces of at least two speakers")
    names = sorted(taught.tolist(), key=lambda place: speakers[place])
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    by = np.full(len(speakers), -1)
    by[order] = order[1:] + order[:1]
    return by


def _random(label: np.ndarray, people: int, dimension: int, seed: int) -> Pairing:
    vectors = np.random.default_rng(seed).standard_normal((people, dimension)).astype(np.float32)
    lists = _with_empty(label, *grouped(np.arange(people), np.arange(people), people), people)
    unknown = np.full(people, np.nan, np.float32)
    return Pairing(lists, InMemory(vectors), dict.fromkeys(QUALITY_COLUMNS, unknown), _unit(vectors))


def _mean_quality(lists: Lists, quality: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of each list, the means `[lists]` over its faces; NaN for one that nobody has."""
    values = np.stack(list(quality.values()))
    means = np.full((len(values), len(lists.lengths)), np.nan, np.float32)
    single = np.flatnonzero(lists.lengths == 1)
    means[:, single] = np.take(values, lists.rows[lists.starts[single]], axis=1)
    several = np.zeros(len(lists.lengths), bool)
    several[lists.of] = True
    for number in np.flatnonzero(several & (lists.lengths > 1)).tolist():
        means[:, number] = np.take(values, lists.members(number), axis=1).mean(axis=1)
    return dict(zip(quality, means, strict=True))
