"""Scores of a trial list from embeddings.

In: one embedding an utterance, the utterance ids, and a trial table (label, enrol, test); where a trial enrols by
several utterances, which ones. Out: one score a trial, float64, in the order of the table.

`sides` does what every score of a list needs, once: it finds the embeddings, averages those of an enrolment, centres
them, and divides them by their norms. `cosine` scores what it found; score normalisation (`cohort`) and
quality-aware calibration (`qmf`) go on from the same `Sides`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vgsr.evaluation import rows
from vgsr.evaluation.metrics import Floats
from vgsr.evaluation.rows import Rows

# Sides averaged, or trials scored, at once: 1,024 × 192 float64 are 1.6 MB, which stay in the cache.
BLOCK = 1024


class ScoringError(Exception):
    """Embeddings that do not fit the trial list; `names` has every utterance or speaker that the text is about."""

    def __init__(self, message: str, names: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.names = list(names)


@dataclass(frozen=True, eq=False)
class Sides:
    """What the trials of a list compare, each side once: an utterance, or an enrolment of several.

    names [S]; enrol and test: the sides of each trial [T]; utterances: what the sides are the mean of, those of side s
    from starts[s] on; units [S, d] float64: the sides' embeddings, of norm 1; norms [S]: what they were divided by.
    """

    names: list[str]
    enrol: Rows
    test: Rows
    utterances: list[str]
    starts: Rows
    units: Floats
    norms: Floats

    def total(self, values: npt.ArrayLike) -> Floats:
        """Sums of a figure of the `utterances` over those of each side: float64 [S]."""
        return _sums(np.asarray(values, dtype=np.float64), self.starts)

    def mean(self, values: npt.ArrayLike) -> Floats:
        """Means of a figure of the `utterances` over those of each side: float64 [S]."""
        return self.total(values) / _sizes(self.starts, len(self.utterances))


def sides(
    embeddings: npt.NDArray[np.floating],
    ids: Sequence[str],
    trials: pa.Table,
    enrolments: Mapping[str, Sequence[str]] | None = None,
    mean: npt.ArrayLike | None = None,
) -> Sides:
    """The sides of trials with columns `enrol` and `test` [T], from embeddings [N, d] of the utterances ids [N].

    A name in `enrolments` stands, as an enrolment, for the mean of its utterances' embeddings as the model gave
    them, not length-normalised: so WeSpeaker does for CN-Celeb (tools/vector_mean.py). `mean` [d], that of a
    training corpus, is then subtracted from every side (WeSpeaker, wespeaker/bin/score.py); subtracting it from
    the utterances gives the same. Utterances that no trial asks for are ignored.

    Raises ScoringError on ids that do not match the rows or are given twice, on utterances of trials or
    enrolments without an embedding, and on sides that are zero or not finite.
    """
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or len(embeddings) != len(ids):
        raise ScoringError(f"embeddings {embeddings.shape} for {len(ids):,} ids: expected one row an id, [N, d]")
    centre = np.zeros(embeddings.shape[1]) if mean is None else np.asarray(mean, dtype=np.float64)
    if centre.shape != embeddings.shape[1:]:
        raise ScoringError(f"a mean {centre.shape} for embeddings {embeddings.shape}: they are of different models")
    known = rows.names(ids)
    names, enrol, test, members, starts = _asked(known, trials, enrolments or {})
    units = _means(embeddings, members, starts)
    units -= centre
    utterances = known.take(pa.array(members)).to_pylist()
    return Sides(names, enrol, test, utterances, starts, units, divide_by_norms(units, names))


def cosine(sides: Sides) -> Floats:
    """Cosine of the two sides of each trial, in [-1, 1]: float64 [T]; sums run in float64."""
    scores = np.empty(len(sides.enrol))
    for start in range(0, len(scores), BLOCK):
        block = slice(start, start + BLOCK)
        np.einsum("td,td->t", sides.units[sides.enrol[block]], sides.units[sides.test[block]], out=scores[block])
    return scores.clip(-1.0, 1.0)


def cosine_scores(
    embeddings: npt.NDArray[np.floating],
    ids: Sequence[str],
    trials: pa.Table,
    enrolments: Mapping[str, Sequence[str]] | None = None,
    mean: npt.ArrayLike | None = None,
) -> Floats:
    """`cosine` of the `sides` of trials [T], where nothing else is made of them: float64 [T]."""
    return cosine(sides(embeddings, ids, trials, enrolments, mean))


def divide_by_norms(vectors: Floats, names: Sequence[str]) -> Floats:
    """The norms [S] of vectors [S, d], which are divided by them in place.

    Raises ScoringError, with their names [S], where vectors are zero or not finite.
    """
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    bad = [names[int(row)] for row in np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))]
    if bad:
        raise ScoringError(
            f"{len(bad):,} of {len(norms):,} embeddings are zero or not finite and have no cosine: "
            f"{rows.some(bad)}. Look for silent or broken recordings",
            bad,
        )
    vectors /= norms[:, None]
    return norms


def _asked(
    known: pa.Array, trials: pa.Table, enrolments: Mapping[str, Sequence[str]]
) -> tuple[list[str], Rows, Rows, Rows, Rows]:
    """names, enrol and test of `Sides`, its utterances as rows of `known`, and starts.

    The single utterances come first, then the enrolments of several.
    """
    absent = [name for name in ("enrol", "test") if name not in trials.column_names]
    if absent:
        raise ScoringError(f"the trial table lacks {', '.join(absent)}; it has {', '.join(trials.column_names)}")
    if doubled := rows.twice(known):
        raise ScoringError(f"{len(doubled):,} utterances have more than one embedding: {rows.some(doubled)}", doubled)
    enrolled = rows.names(trials["enrol"])
    group = rows.find(enrolled, rows.names(list(enrolments)))
    single = group < 0
    groups, of_group = np.unique(group[~single], return_inverse=True)
    models = rows.names(list(enrolments)).take(pa.array(groups)).to_pylist()
    if empty := [name for name in models if len(enrolments[name]) == 0]:
        raise ScoringError(f"{len(empty):,} enrolments have no utterance: {rows.some(empty)}", empty)
    inside = rows.names([utterance for name in models for utterance in enrolments[name]])

    wanted = pa.concat_arrays([enrolled.filter(pa.array(single)), rows.names(trials["test"]), inside])
    found = _found(wanted, known)
    alone, of_members = found[: len(found) - len(inside)], found[len(found) - len(inside) :]
    is_used = np.zeros(len(known), bool)
    is_used[alone] = True
    utterances, of_alone = np.flatnonzero(is_used), (np.cumsum(is_used) - 1)[alone]
    enrol = np.empty(len(enrolled), np.int64)
    enrol[single] = of_alone[: single.sum()]
    enrol[~single] = len(utterances) + of_group
    sizes = np.append(np.ones(len(utterances), np.int64), np.array([len(enrolments[n]) for n in models], np.int64))
    names = known.take(pa.array(utterances)).to_pylist() + models
    return names, enrol, of_alone[single.sum() :], np.append(utterances, of_members), np.cumsum(sizes) - sizes


def _found(wanted: pa.Array, known: pa.Array) -> Rows:
    """Rows of the wanted utterances among the known ones; ScoringError with all that are missing."""
    found = rows.find(wanted, known)
    if (found < 0).any():
        missing = pc.unique(wanted.filter(pa.array(found < 0))).to_pylist()
        raise ScoringError(
            f"{len(missing):,} utterances of the trials have no embedding: {rows.some(missing)}", missing
        )
    return found


def _means(embeddings: npt.NDArray[np.floating], members: Rows, starts: Rows) -> Floats:
    """Means [S, d] of embeddings [N, d] over the members of each side."""
    means = np.empty((len(starts), embeddings.shape[1]))
    ends = np.append(starts, len(members))
    for start in range(0, len(starts), BLOCK):
        block = starts[start : start + BLOCK]
        chosen = members[block[0] : ends[start + len(block)]]
        means[start : start + BLOCK] = _sums(embeddings[chosen].astype(np.float64), block - block[0])
    means /= _sizes(starts, len(members))[:, None]
    return means


def _sizes(starts: Rows, count: int) -> Rows:
    return np.diff(np.append(starts, count))


def _sums(values: Floats, starts: Rows) -> Floats:
    """Sums of consecutive rows of values [M] or [M, d], one from each of the `starts` to the next."""
    return np.add.reduceat(values, starts, axis=0) if len(starts) else values[:0]
