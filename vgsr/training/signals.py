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
from vgsr.teachers.pairing import Pairing

ONLINE = "student_norm"

# Speech above this SNR counts as clean: the blind estimate reads 100 dB for much of it, and that would rule the mean.
CLEAN_DB = 40.0


def measured(names: Iterable[str]) -> tuple[str, ...]:
    """`names` without the one that is measured online, in their order: the columns of a crop's signals."""
    return tuple(name for name in names if name != ONLINE)


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
        values = np.full((self.size, len(self.names)), np.nan, np.float32)
        faces = _mean_over_faces(self.pairing, self.names) if self.pairing else {}
        for place, name in enumerate(self.names):
            if name in self.speech:
                clean = CLEAN_DB if name == "speech_snr" else np.inf
                values[:, place] = np.minimum(self.speech[name], clean)
            elif name in faces:
                values[:, place] = faces[name]
        return values

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
    if name == "speech_duration":
        return np.log(utterances["seconds"].to_numpy()).astype(np.float32)
    return np.asarray(utterances[name].to_numpy(), np.float32)


def known(utterances: pa.Table, pairing: Pairing | None) -> tuple[str, ...]:
    """The signals that tell training samples apart: known for at least two that differ. `student_norm` always does."""
    values = of(SIGNALS, utterances, pairing)
    table = values.table()
    finite = np.isfinite(table)
    lowest = np.where(finite, table, np.inf).min(axis=0, initial=np.inf)
    highest = np.where(finite, table, -np.inf).max(axis=0, initial=-np.inf)
    varies = dict(zip(values.names, lowest < highest, strict=True))
    return tuple(name for name in SIGNALS if name == ONLINE or varies[name])


def _joint_snr(own: float, drawn: float) -> float:
    """SNR in dB of speech that has `own` noise in it and gets more at `drawn` (inf: none); noise powers add."""
    if math.isnan(own):
        return math.nan if math.isinf(drawn) else min(drawn, CLEAN_DB)
    return min(-10.0 * math.log10(10 ** (-own / 10) + 10 ** (-drawn / 10)), CLEAN_DB)


def _mean_over_faces(pairing: Pairing, names: Iterable[str]) -> dict[str, np.ndarray]:
    """`{name: [utterances]}` of the face signals among `names`; NaN without a face, or with one that is not known."""
    counts = np.array([len(rows) for rows in pairing.rows], np.int64)
    faces = np.concatenate([*pairing.rows, np.empty(0, np.int64)]).astype(np.int64)
    owner = np.repeat(np.arange(len(counts)), counts)
    means = {}
    for name in names:
        if name in pairing.quality:
            sums = np.bincount(owner, weights=pairing.quality[name][faces], minlength=len(counts))
            means[name] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means
