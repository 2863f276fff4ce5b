"""Quality signals of the training set: names in; their values, over all samples and of one crop, out.

Every signal is higher for a better sample and NaN where it is not known. Signals of the face come from the teacher
bank, those of the speech from the manifest. A crop that the augmenter makes noisy has the SNR that it drew; its other
speech signals stay those of the recording, because what noise and reverberation do to them is not known exactly.
`student_norm` never comes from here: the objective measures it while it trains.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vgsr.config import SIGNALS
from vgsr.teachers.lists import Lists
from vgsr.teachers.pairing import Pairing

ONLINE = "student_norm"
DURATION = "speech_duration"  # of the column `seconds`

# Speech above this SNR counts as clean: the blind estimate reads 100 dB for much of it, and that would rule the mean.
CLEAN_DB = 40.0


def measured(names: Iterable[str]) -> tuple[str, ...]:
    """`names` without the one that is measured online, in their order: the columns of a crop's signals."""
    return tuple(name for name in names if name != ONLINE)


def columns(names: Iterable[str]) -> tuple[str, ...]:
    """The columns of a manifest's utterances that hold signals among `names`; `speech_duration` is another's."""
    return tuple(name for name in measured(names) if name.startswith("speech_") and name != DURATION)


@dataclass(frozen=True)
class Signals:
    """The measured signals `names` of a training set of `size` utterances.

    speech: `{name: [size] float32}`, as recorded. pairing: which faces an utterance has and their signals; None
    without a teacher.
    """

    names: tuple[str, ...]
    size: int
    speech: dict[str, np.ndarray]
    pairing: Pairing | None

    def of_crop(self, row: int, face: int | None, drawn_snr: float) -> list[float]:
        """Values `[S]` for a crop of utterance `row` with the face in row `face` of the pairing (None: no face).

        `drawn_snr` is that of the noise the augmenter adds, in dB (inf: none).
        """
        return [self._of_crop(name, row, face, drawn_snr) for name in self.names]

    def table(self) -> np.ndarray:
        """Values `[size, S]` (float32) over the training set, of clean speech: what signals are standardised by.

        A signal of the face is its mean over the faces that the utterance may draw from.
        """
        values = np.empty((self.size, len(self.names)), np.float32)
        for place, name in enumerate(self.names):
            values[:, place] = self.column(name)
        return values

    def column(self, name: str) -> np.ndarray:
        """Values `[size]` (float32) of one signal: a column of `table`."""
        if name in self.speech:
            return np.minimum(self.speech[name], np.float32(CLEAN_DB if name == "speech_snr" else np.inf))
        if self.pairing and name in self.pairing.quality:
            return _mean_over_faces(self.pairing.faces, self.pairing.quality[name])
        return np.full(self.size, np.nan, np.float32)

    def _of_crop(self, name: str, row: int, face: int | None, drawn_snr: float) -> float:
        if name == "speech_snr":
            return _joint_snr(float(self.speech[name][row]), drawn_snr)
        if name in self.speech:
            return float(self.speech[name][row])
        return float(self.pairing.quality[name][face]) if self.pairing and face is not None else math.nan


def of(names: Iterable[str], utterances: pa.Table, pairing: Pairing | None) -> Signals:
    """The measured ones among `names` for the training `utterances` (rows of a manifest) and their faces."""
    wanted = measured(names)
    speech = {name: speech_column(name, utterances) for name in wanted if name.startswith("speech_")}
    return Signals(wanted, len(utterances), speech, pairing)


def speech_column(name: str, utterances: pa.Table) -> np.ndarray:
    """A signal of the speech `[n]` (float32) for each utterance; the duration is ln(seconds)."""
    if name == DURATION:
        return np.log(utterances["seconds"].to_numpy()).astype(np.float32)
    return np.asarray(utterances[name].to_numpy(), np.float32)


def known(utterances: pa.Table, pairing: Pairing | None) -> tuple[str, ...]:
    """The signals that tell training samples apart: known for at least two that differ. `student_norm` always does."""
    values = of(SIGNALS, utterances, pairing)
    return tuple(name for name in SIGNALS if name == ONLINE or _varies(values.column(name)))


def _joint_snr(own: float, drawn: float) -> float:
    """SNR in dB of speech that has `own` noise in it and gets more at `drawn` (inf: none); noise powers add."""
    if math.isnan(own):
        return math.nan if math.isinf(drawn) else min(drawn, CLEAN_DB)
    return min(-10.0 * math.log10(10 ** (-own / 10) + 10 ** (-drawn / 10)), CLEAN_DB)


def _varies(values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)]
    return len(finite) > 0 and bool(finite.min() < finite.max())


def _mean_over_faces(faces: Lists, quality: np.ndarray) -> np.ndarray:
    """The mean of a face's signal `[utterances]` (float32); NaN without a face, or with one that is not known."""
    counts = faces.lengths
    owner = np.repeat(np.arange(len(counts)), counts)
    sums = np.bincount(owner, weights=quality[faces.rows], minlength=len(counts))
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return np.asarray(means[faces.of], np.float32)
