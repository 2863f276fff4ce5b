"""Quality-aware calibration: log-likelihood ratios from a score and measures of the quality of both its sides.

In: scores of held-out trials, their `Sides`, their labels, and `Measures` of the sides (quality measure functions,
QMF). Out: a `Qmf`, LLR = features·weights + offset in nats: J. Thienpondt, B. Desplanques and K. Demuynck, "The IDLab
VoxSRC-20 submission: large margin fine-tuning and quality-aware score calibration in DNN based speaker verification",
ICASSP 2021 (arXiv 2010.11255), there logistic regression on the score and on duration, embedding magnitude and the
mean of the highest imposter scores.

A trial says the same whichever side is called the enrolment, so a measure enters as the mean of both sides (our
definition). WeSpeaker (wespeaker/bin/score_calibration.py) has the lower and the higher one, from which a fit can tell
how unlike they are; that is no quality, and it gives trials away: two halves of one recording are equally long and
equally noisy. Learned on such trials (AVSpeech), it lowered the EER of others of the kind from 14 to 4 % and raised
that of true pairs of recordings from 14 to 51 %.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from vgsr.evaluation import logistic, rows
from vgsr.evaluation.cohort import Statistics
from vgsr.evaluation.metrics import Floats
from vgsr.evaluation.scoring import ScoringError, Sides


@dataclass(frozen=True, eq=False)
class Measures:
    """Measures of the quality of the sides of a trial list: float64 [S], or None where one is not taken.

    log_seconds: natural logarithm of the speech's seconds, of an enrolment all of it; norm: of the embedding that is
    scored; imposter_mean: of its highest cohort scores; snr: dB, of an enrolment the mean of its utterances.
    """

    log_seconds: Floats | None = None
    norm: Floats | None = None
    imposter_mean: Floats | None = None
    snr: Floats | None = None


@dataclass(frozen=True)
class Qmf:
    """LLR = Σ weights[feature]·feature + offset, in nats. `dataclasses.asdict` makes it JSON, `Qmf(**d)` reads.

    weights: "score", and each field of `Measures` that it was fitted with.
    """

    weights: dict[str, float]
    offset: float

    def llr(self, scores: npt.ArrayLike, sides: Sides, measures: Measures) -> Floats:
        """Log-likelihood ratios [T] (natural logarithm) of the scores [T] of trials.

        Raises ScoringError on measures other than those it was fitted with, and as `features` does.
        """
        names, table = features(scores, sides, measures)
        if names != list(self.weights):
            raise ScoringError(
                f"a calibration of {', '.join(self.weights)} was given {', '.join(names)}: take the same measures as "
                "when it was fitted"
            )
        return logistic.Weights(np.array(list(self.weights.values())), self.offset).llr(table)


def measures(
    sides: Sides,
    seconds: Mapping[str, float | None] | None = None,
    snr: Mapping[str, float | None] | None = None,
    cohort: Statistics | None = None,
) -> Measures:
    """The measures of sides, from figures by utterance where they are given; the embeddings' norms are always taken.

    seconds of speech; snr in dB; cohort: `cohort.statistics` of the sides. Raises ScoringError naming the utterances
    that have no figure, or a null, NaN or infinite one, or seconds that are not positive.
    """
    return Measures(
        log_seconds=None if seconds is None else np.log(sides.total(_figures(sides, seconds, "seconds", 0.0))),
        norm=sides.norms,
        imposter_mean=None if cohort is None else cohort.mean,
        snr=None if snr is None else sides.mean(_figures(sides, snr, "SNR", -np.inf)),
    )


def features(scores: npt.ArrayLike, sides: Sides, measures: Measures) -> tuple[list[str], Floats]:
    """Names [F] and values [T, F] of what a `Qmf` weighs: the score, and of each measure the mean of both sides.

    Raises ScoringError where scores are not one a trial or measures not one a side.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != sides.enrol.shape:
        raise ScoringError(f"scores {values.shape} of {len(sides.enrol):,} trials: expected one a trial")
    columns = {"score": values}
    for field in fields(measures):
        measure = getattr(measures, field.name)
        if measure is None:
            continue
        if measure.shape != (len(sides.names),):
            raise ScoringError(f"{field.name} {measure.shape} of {len(sides.names):,} sides: expected one a side")
        columns[field.name] = (measure[sides.enrol] + measure[sides.test]) / 2
    return list(columns), np.stack(list(columns.values()), axis=1)


def fit(scores: npt.ArrayLike, labels: npt.ArrayLike, sides: Sides, measures: Measures, p_target: float = 0.5) -> Qmf:
    """The `Qmf` that `logistic.fit` finds for scores [T] with labels [T]; without measures an affine calibration.

    Raises ScoringError as `features` and MetricError as `logistic.fit` does.
    """
    names, table = features(scores, sides, measures)
    found = logistic.fit(table, labels, p_target)
    return Qmf(dict(zip(names, found.weights.tolist(), strict=True)), found.offset)


def _figures(sides: Sides, of: Mapping[str, float | None], what: str, above: float) -> Floats:
    """The figures of the sides' utterances: float64 [M]; ScoringError unless all are finite and higher than `above`."""
    values = np.array([of.get(utterance) for utterance in sides.utterances], dtype=np.float64)
    bad = sorted({sides.utterances[row] for row in np.flatnonzero(~(np.isfinite(values) & (values > above)))})
    if bad:
        raise ScoringError(
            f"{len(bad):,} utterances have no usable figure for {what}: {rows.some(bad)}. Measure them, or calibrate "
            f"without {what}",
            bad,
        )
    return values
