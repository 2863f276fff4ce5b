"""Adaptive symmetric score normalisation (AS-norm) against a cohort of speakers.

In: the `Sides` of a trial list, their scores, and a cohort: one mean embedding a speaker who is in no trial.
Out: one normalised score a trial, float64; and of every side the mean and deviation of its highest cohort scores,
which quality-aware calibration (`qmf`) uses too.

    score' = ½·((score - mean_enrol) / deviation_enrol + (score - mean_test) / deviation_test)

each over the `top` highest cosines between that side and the cohort: P. Matějka et al., "Analysis of Score
Normalization in Multilingual Speaker Recognition", Interspeech 2017, there adaptive S-norm 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from vgsr.evaluation import rows
from vgsr.evaluation.metrics import Floats
from vgsr.evaluation.scoring import ScoringError, Sides, divide_by_norms

# Sides compared with the cohort at once: 1,024 × 6,000 float32 are 25 MB.
BLOCK = 1024
# Cosines are computed in float32, whose rounding makes deviations of about 1e-8 where all are equal.
NO_DEVIATION = 1e-6


@dataclass(frozen=True, eq=False)
class Cohort:
    """Speakers that trials are compared with.

    name: as a protocol line shows it, e.g. "703 speaker means of avspeech/train"; means [C, d]: `speaker_means`;
    mean [d]: subtracted from them here, and from the sides by `scoring.sides(…, mean=cohort.mean)`; None: nothing is.
    """

    name: str
    means: npt.NDArray[np.floating]
    mean: npt.NDArray[np.floating] | None = None


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and standard deviation of the highest cohort scores of each side: float64 [S] both."""

    mean: Floats
    deviation: Floats


def speaker_means(embeddings: npt.NDArray[np.floating], speakers: Sequence[str]) -> tuple[list[str], Floats]:
    """Each speaker once, sorted, and the mean of that speaker's embeddings: names [C] and float64 [C, d].

    embeddings [N, d] of utterances of speakers [N]. They are averaged as the model gave them, and only the means
    are length-normalised, by `statistics`: WeSpeaker's practice (tools/vector_mean.py, wespeaker/bin/score_norm.py).
    """
    if np.ndim(embeddings) != 2 or len(embeddings) != len(speakers) or len(speakers) == 0:
        raise ScoringError(
            f"embeddings {np.shape(embeddings)} for {len(speakers):,} speakers: expected one row and one speaker an "
            "utterance, [N, d] and [N], of one utterance at least"
        )
    owners = rows.names(speakers)
    names = sorted(pc.unique(owners).to_pylist())
    owner = rows.find(owners, rows.names(names))
    parts = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
    return names, np.stack([embeddings[part].mean(axis=0, dtype=np.float64) for part in parts])


def statistics(sides: Sides, cohort: Cohort, top: int) -> Statistics:
    """Mean and standard deviation of each side's `top` highest cosines with the cohort.

    The deviation is that of a population (÷ top), as WeSpeaker has it; SpeechBrain divides by top - 1. Products run in
    float32, sums in float64. Raises ScoringError where the cohort has less than `top` speakers,
    another dimension, or means that are zero or not finite, and where the highest cosines of a side are all the same.
    """
    means = np.array(cohort.means, dtype=np.float64)
    if means.ndim != 2 or means.shape[1] != sides.units.shape[1]:
        raise ScoringError(
            f"the cohort {cohort.name} has means {means.shape} for embeddings of {sides.units.shape[1]}: "
            "they are of different models"
        )
    if not 2 <= top <= len(means):
        raise ScoringError(
            f"the {top:,} highest scores of a cohort of {len(means):,} speakers ({cohort.name}): "
            f"take between 2 and {len(means):,} of them"
        )
    if cohort.mean is not None:
        means -= np.asarray(cohort.mean, dtype=np.float64)
    divide_by_norms(means, [f"speaker {row} of the cohort (counted from 0)" for row in range(len(means))])
    against = np.ascontiguousarray(means.astype(np.float32).T)
    mean, deviation = np.empty(len(sides.units)), np.empty(len(sides.units))
    for start in range(0, len(mean), BLOCK):
        block = slice(start, start + BLOCK)
        scores = sides.units[block].astype(np.float32) @ against
        scores.partition(len(means) - top, axis=1)
        highest = scores[:, -top:].astype(np.float64)
        mean[block], deviation[block] = highest.mean(axis=1), highest.std(axis=1)
    flat = [sides.names[row] for row in np.flatnonzero(deviation < NO_DEVIATION)]
    if flat:
        raise ScoringError(
            f"the {top:,} highest cohort scores of {len(flat):,} sides are all the same, so there is no deviation to "
            f"divide by: {rows.some(flat)}. Look for copies of one speaker in the cohort {cohort.name}",
            flat,
        )
    return Statistics(mean, deviation)


def as_norm(scores: npt.ArrayLike, sides: Sides, of: Statistics) -> Floats:
    """Normalised scores, float64 [T], of the cosines [T] of trials and their sides' cohort statistics."""
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != sides.enrol.shape:
        raise ScoringError(f"scores {values.shape} of {len(sides.enrol):,} trials: expected one a trial")
    enrol, test = ((values - of.mean[side]) / of.deviation[side] for side in (sides.enrol, sides.test))
    return 0.5 * (enrol + test)
