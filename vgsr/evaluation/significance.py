"""Is one system's EER lower than another's, or is it chance? Each was trained with one or several seeds.

In: for each system the score tables (`score_files.SCORES`) of its seeds, all of one trial list. Out: a `Comparison`,
the relative difference of the mean EERs with a 95 % interval and a p value; of one system alone, a `MeanEer`.

Other speakers would have given other EERs: lists are resampled by speaker, the same lists for both systems and all
seeds, so that what they have in common cancels (`resampling`). Other seeds would have, too (`sampling_error`). Both
are counted for EERs relative to their system's mean, to first order their logarithm: the interval is a t interval of
the log ratio, and mirrored when the systems change places.

How often such intervals hold the true difference: `tests/benchmarks/bootstrap_coverage.py`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vgsr.evaluation.common_list import CommonList, common_list
from vgsr.evaluation.comparison import Basis, Comparison, MeanEer
from vgsr.evaluation.metrics import Floats
from vgsr.evaluation.resampling import Replicates, resample
from vgsr.evaluation.sampling_error import standard_error

CONFIDENCE = 0.95
# Below these a warning is given, as 95 % intervals were seen to hold the truth in 91 to 93 % of cases: expected errors
# (EER × trials of the rarer kind), and speakers with target trials.
FEW_ERRORS = 5
FEW_SPEAKERS = 20
# Fewer are refused.
LEAST_SPEAKERS = 5
LEAST_REPLICATES = 100
NOT_IN_IT = "training noise is NOT in it"


class SignificanceError(Exception):
    """Systems for which no interval can be told."""


def compare(
    a: Sequence[pa.Table], b: Sequence[pa.Table], *, seeds_paired: bool, replicates: int = 1000, seed: int = 0
) -> Comparison:
    """A against the baseline B, from the score tables of their seeds; their trials may be in any order.

    seeds_paired: the tables of a and b go together one by one, as those of the same seed. The same `seed` gives the
    same figures. Raises ListError on tables of different lists, MetricError on scores without an EER, and
    SignificanceError where a system makes no error, where fewer than LEAST_SPEAKERS speakers have target trials, and on
    seeds that cannot be paired.
    """
    if seeds_paired and len(a) != len(b):
        raise SignificanceError(f"{len(a)} and {len(b)} seeds cannot be paired")
    trials = _enough(common_list([*a, *b], [*_names("A", a), *_names("B", b)]), replicates)
    means, observed, sampled = _relative(trials, ("A", "B"), [0] * len(a) + [1] * len(b), replicates, seed)
    # Contrasts of the relative EERs, one row a seed: those of A count positive, those of B negative.
    plus, minus = np.split(np.diag([1.0] * len(a) + [-1.0] * len(b)), [len(a)])
    basis = _basis(trials, means, sampled, _of_both(len(a), len(b), seeds_paired))
    error = standard_error(observed, sampled, [plus + minus] if seeds_paired else [plus, minus], basis.target_speakers)
    ratio, margin = float(np.log(means[0] / means[1])), error.margin(CONFIDENCE)
    if ratio and not error.value:
        raise SignificanceError("the systems differ by the same in every resampled list: there are too few trials")
    eers = tuple(system.eer for system in trials.systems)
    return Comparison(
        eers_a=eers[: len(a)],
        eers_b=eers[len(a) :],
        relative=float(np.expm1(ratio)),
        low=float(np.expm1(ratio - margin)),
        high=float(np.expm1(ratio + margin)),
        p=error.p_value(ratio),
        basis=basis,
    )


def interval(tables: Sequence[pa.Table], *, replicates: int = 1000, seed: int = 0) -> MeanEer:
    """The mean EER of one system's seeds, from their score tables; raises as `compare` does."""
    trials = _enough(common_list(tables, _names("the system", tables)), replicates)
    means, observed, sampled = _relative(trials, ("the system",), [0] * len(tables), replicates, seed)
    basis = _basis(trials, means, sampled, _of_one(len(tables)))
    error = standard_error(observed, sampled, [np.eye(len(tables))], basis.target_speakers)
    factor = float(np.exp(error.margin(CONFIDENCE)))
    eers = tuple(system.eer for system in trials.systems)
    return MeanEer(float(means[0]), float(means[0]) / factor, float(means[0]) * factor, eers, basis)


def _names(side: str, tables: Sequence[pa.Table]) -> list[str]:
    """What messages call the tables of a side."""
    if not tables:
        raise SignificanceError(f"{side}: the score table of at least one seed is needed")
    return [
        f"{side}, seed {number} of {len(tables)}" if len(tables) > 1 else side for number in range(1, len(tables) + 1)
    ]


def _enough(trials: CommonList, replicates: int) -> CommonList:
    """The list, where it has speakers enough, and is to be resampled often enough, to say something of others."""
    if replicates < LEAST_REPLICATES:
        raise SignificanceError(f"{replicates} resampled lists are too few: at least {LEAST_REPLICATES}")
    speakers = _target_speakers(trials)
    if speakers < LEAST_SPEAKERS:
        raise SignificanceError(
            f"{speakers} speakers with target trials say nothing about others: at least {LEAST_SPEAKERS} are needed"
        )
    return trials


def _target_speakers(trials: CommonList) -> int:
    return len(np.unique(trials.who.enrol[trials.who.target]))


def _relative(
    trials: CommonList, names: Sequence[str], side: Sequence[int], replicates: int, seed: int
) -> tuple[Floats, Floats, Replicates]:
    """Mean EER of each side; and relative to their side's, the EERs of the list and of resampled ones."""
    eers = np.array([system.eer for system in trials.systems])
    means = np.array([eers[np.equal(side, number)].mean() for number in range(len(names))])
    faultless = [name for name, mean in zip(names, means, strict=True) if not mean]
    if faultless:
        raise SignificanceError(
            f"{' and '.join(faultless)} made no error on this list, and nothing is to be told relative to none: take "
            "a larger or a harder list"
        )
    own = means[list(side)]
    sampled = resample(trials.systems, trials.who, replicates, seed)
    relative = {"by_speaker": sampled.by_speaker / own[:, None], "by_pair": sampled.by_pair / own[:, None]}
    return means, eers / own, replace(sampled, **relative)


def _basis(trials: CommonList, means: Floats, sampled: Replicates, training: str) -> Basis:
    who, speakers = trials.who, _target_speakers(trials)
    targets = int(who.target.sum())
    warnings = []
    if NOT_IN_IT in training:
        warnings.append("one seed each: another training may change it by more than the interval says")
    errors = float(means.min()) * min(targets, len(who.target) - targets)
    if errors < FEW_ERRORS:
        warnings.append(f"about {errors:.1f} errors of a kind, fewer than {FEW_ERRORS}: the interval may be too narrow")
    if speakers < FEW_SPEAKERS:
        warnings.append(f"{speakers} speakers with target trials, fewer than {FEW_SPEAKERS}: it may be too narrow")
    return Basis(
        speakers=who.speakers,
        target_speakers=speakers,
        targets=targets,
        nontargets=len(who.target) - targets,
        replicates=sampled.by_pair.shape[1],
        dropped=sampled.dropped,
        training=training,
        warnings=tuple(warnings),
    )


def _of_one(seeds: int) -> str:
    return f"training noise from {seeds} seeds" if seeds > 1 else f"{NOT_IN_IT}: 1 seed"


def _of_both(a: int, b: int, paired: bool) -> str:
    """How training noise is in the interval of a comparison, in words."""
    if max(a, b) == 1:
        return f"{NOT_IN_IT}: 1 seed each"
    if paired:
        return f"training noise from {a} paired seeds"
    if min(a, b) == 1:
        return (
            f"training noise from the {max(a, b)} seeds of {'A' if a > b else 'B'}, taken to be the same of the other"
        )
    return f"training noise from {a} and {b} seeds, not paired"
