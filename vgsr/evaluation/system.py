"""A system on the trial lists of a manifest: how its embeddings become scores, and the figures of those.

In: whatever embeds utterances (a student of ours, the embeddings of somebody else's system) or a table of scores made
elsewhere. Out: `Tested`, figures with their protocol beside the score of every trial. Ours and theirs take the same
way, so they may stand in one table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from vgsr.data.manifest import Manifest, ManifestError
from vgsr.evaluation import calibration, cohort, overlap, protocol, qmf, score_files, scoring
from vgsr.evaluation.calibration import Calibration
from vgsr.evaluation.cohort import Cohort
from vgsr.evaluation.embedding import of_lists
from vgsr.evaluation.lists import VALIDATION
from vgsr.evaluation.metrics import Floats
from vgsr.evaluation.qmf import Qmf

Embed = Callable[[Manifest, Sequence[str]], np.ndarray]  # utterance ids [N] of a manifest → embeddings [N, d]


@dataclass(frozen=True)
class Scoring:
    """How embeddings become scores: cosine; minus the training mean; normalised by a cohort; weighed by quality.

    top: cohort scores of a side that AS-norm looks at, at most as many as the cohort has speakers. With `qmf` the
    scores are the log-likelihood ratios of `vgsr.evaluation.qmf`, from duration, norm, SNR and cohort scores.
    """

    normalisation: Literal["none", "mean", "as-norm"] = "none"
    top: int = 300
    qmf: bool = False

    @property
    def plain(self) -> bool:
        """Whether nothing but the two embeddings of a trial is looked at."""
        return self == Scoring()


@dataclass(frozen=True, eq=False)
class System:
    """Embeddings, and all that turns them into scores. words: how it scores, as a protocol line says it."""

    embed: Embed
    scoring: Scoring
    words: str
    background: str = ""  # corpus that the cohort and the calibration are of
    cohort: Cohort | None = None
    cohort_speakers: tuple[str, ...] = ()
    calibrated: Calibration | Qmf | None = None


@dataclass(frozen=True, eq=False)
class Tested:
    """Figures of one trial list, and its scores (`score_files.SCORES`)."""

    result: protocol.Result
    scores: pa.Table


def prepare(embed: Embed, how: Scoring, background: Manifest) -> System:
    """A system that scores as `how` says, with the training speakers of `background` as its cohort.

    Calibrated on the validation list of `background`, scored in the same way, where there is one. ManifestError where
    a cohort is asked for and nobody is in the training split, or QMF and there is no validation list.
    """
    words, means, names = "cosine", None, tuple[str, ...]()
    train = f"{background.corpus}/train"
    if how.normalisation != "none":
        rows = background.split("train", ["utterance_id", "speaker"])
        if not len(rows):
            raise ManifestError(
                f"{background.place}: nobody is in its training split: there is no cohort to compare with"
            )
        vectors = embed(background, rows["utterance_id"].to_pylist())
        found, centres = cohort.speaker_means(vectors, rows["speaker"].to_pylist())
        means, names = Cohort(train, centres, vectors.mean(axis=0, dtype=np.float64)), tuple(found)
        words += f" minus the mean of {train}"
    if how.normalisation == "as-norm":
        how = Scoring(how.normalisation, min(how.top, len(names)), how.qmf)
        words += f", AS-norm top {how.top:,} of {len(names):,} speaker means"
    elif how.normalisation == "none":
        words = protocol.PLAIN
    system = System(embed, how, words, background.corpus, means, names)
    if VALIDATION not in background.trials:
        if how.qmf:
            raise ManifestError(f"{background.place}: it has no list {VALIDATION!r}, which QMF is fitted on")
        return system
    scores, sides, measures, labels = _raw(system, background, [VALIDATION])[VALIDATION]
    calibrated: Calibration | Qmf
    if how.qmf:
        calibrated = qmf.fit(scores, labels, sides, measures)
        words += f", QMF of {', '.join(calibrated.weights)}"
    else:
        calibrated = calibration.fit(scores, labels)
    words += f", calibrated on {background.corpus}/{VALIDATION}"
    return System(embed, how, words, background.corpus, means, names, calibrated)


def test(
    system: System, manifest: Manifest, lists: Sequence[str], p_targets: Sequence[float], namesakes: bool = False
) -> list[Tested]:
    """The system on trial lists of a manifest. ManifestError where a cohort speaker is in them (`overlap.refuse`)."""
    imposters = overlap.Known(system.background, system.cohort_speakers, "the cohort")
    overlap.refuse(imposters, manifest, lists, namesakes)
    tested = []
    for name, (scores, sides, measures, labels) in _raw(system, manifest, lists).items():
        llrs = None
        if isinstance(system.calibrated, Qmf):
            scores = llrs = system.calibrated.llr(scores, sides, measures)
        elif system.calibrated is not None:
            llrs = system.calibrated.llr(scores)
        lines = protocol.of_list(manifest, name, system.words)
        result = protocol.evaluate(scores, labels, lines, p_targets, llrs)
        tested.append(Tested(result, _table(manifest, name, scores)))
    return tested


def test_scores(scores: pa.Table, words: str, manifest: Manifest, name: str, p_targets: Sequence[float]) -> Tested:
    """Scores made elsewhere, by the names of the trials of one list. words: whose they are."""
    trials = manifest.named_trials(name)
    aligned = score_files.align(scores, trials)
    if aligned.superfluous:
        words += f" ({aligned.superfluous:,} other trials in it)"
    lines = protocol.of_list(manifest, name, words)
    result = protocol.evaluate(aligned.scores, trials["label"].to_numpy(), lines, p_targets)
    return Tested(result, _table(manifest, name, aligned.scores))


def _raw(
    system: System, manifest: Manifest, lists: Sequence[str]
) -> dict[str, tuple[Floats, scoring.Sides, qmf.Measures, np.ndarray]]:
    """Scores before any calibration, sides, measures and labels of each list; every utterance is embedded once."""
    ids = of_lists(manifest, lists)
    vectors = system.embed(manifest, ids)
    found = {}
    centre = system.cohort.mean if system.cohort else None
    for name in lists:
        trials = manifest.named_trials(name)
        sides = scoring.sides(vectors, ids, trials, manifest.enrolled(name), centre)
        scores, statistics = scoring.cosine(sides), None
        if system.scoring.normalisation == "as-norm" and system.cohort:
            statistics = cohort.statistics(sides, system.cohort, system.scoring.top)
            scores = cohort.as_norm(scores, sides, statistics)
        measures = qmf.Measures()
        if system.scoring.qmf:
            heard = manifest.rows_of(ids, ["seconds", "speech_snr"])
            seconds, snr = (dict(zip(ids, column.to_pylist(), strict=True)) for column in heard.columns)
            measures = qmf.measures(sides, seconds, snr, statistics)
        found[name] = scores, sides, measures, trials["label"].to_numpy()
    return found


def _table(manifest: Manifest, name: str, scores: Floats) -> pa.Table:
    trials, ids = manifest.named_trials(name), of_lists(manifest, [name])
    speakers = dict(zip(ids, manifest.rows_of(ids, ["speaker"])["speaker"].to_pylist(), strict=True))
    speakers |= {enrol: speakers[each[0]] for enrol, each in manifest.enrolled(name).items()}
    owners = {f"{side}_speaker": [speakers[one] for one in trials[side].to_pylist()] for side in ("enrol", "test")}
    columns = {column: trials[column] for column in ("label", "enrol", "test")}
    return pa.table({**columns, **owners, "score": scores}, schema=score_files.SCORES)
