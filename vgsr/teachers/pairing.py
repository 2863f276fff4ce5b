"""Which faces teach which utterance, and the controls.

In: the training utterances and a teacher bank. Out: for each utterance the bank rows it may draw from (its session's
faces, else its speaker's), the matrix those rows index, and the teacher's class centres.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vgsr.teachers.bank import Bank

QUALITY_COLUMNS = ("face_norm", "face_sharpness", "face_detection", "face_pose", "face_agreement")


class PairingError(Exception):
    """A bank that cannot teach this corpus; the text says why."""


@dataclass(frozen=True)
class Pairing:
    """Faces of the training utterances.

    rows: for each utterance the rows of `matrix` it may draw from (empty: no face).
    matrix: teacher embeddings `[n, d]` float32 of unit length: direction is identity, the length that a network gives
    a face is a quality signal (`face_norm`). quality: `{name: [n]}`, NaN where unknown.
    centres: `[speakers, d]` float32, unit length, in the order of `speakers`; zero where a speaker has no face.
    """

    rows: list[np.ndarray]
    matrix: np.ndarray
    quality: dict[str, np.ndarray]
    centres: np.ndarray

    @property
    def coverage(self) -> float:
        """Share of the utterances that have a face."""
        return float(np.mean([len(row) > 0 for row in self.rows]))


def pair(
    utterance_speakers: Sequence[str],
    utterance_sessions: Sequence[str],
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
    `average` an utterance has one row, the mean of its unit-length faces. PairingError when no utterance has a face.
    """
    raw = bank.matrix()
    matrix = raw / np.linalg.norm(raw, axis=1, keepdims=True).clip(1e-12)
    quality = {name: np.asarray(bank.table[name].to_numpy(), np.float32) for name in QUALITY_COLUMNS}
    usable = np.flatnonzero(np.isfinite(matrix).all(axis=1))
    names, sessions = bank.table["speaker"].to_pylist(), bank.table["session"].to_pylist()
    by_speaker: dict[str, list[int]] = defaultdict(list)
    by_session: dict[tuple[str, str], list[int]] = defaultdict(list)
    wanted = set(speakers)
    for row in usable:
        if names[row] in wanted:
            by_speaker[names[row]].append(int(row))
            by_session[names[row], sessions[row]].append(int(row))
    if not by_speaker:
        raise PairingError(
            f"teacher bank {bank.model}: none of its {len(usable)} embedded faces belongs to one of the "
            f"{len(wanted)} training speakers; was it made from another manifest?"
        )
    if control == "random":
        return _random(utterance_speakers, speakers, matrix.shape[1], quality, seed)
    taught_by = _cycle(sorted(by_speaker), seed) if control == "shuffled" else {name: name for name in by_speaker}
    rows = []
    for speaker, session in zip(utterance_speakers, utterance_sessions, strict=True):
        own = by_session.get((speaker, session)) if control == "none" else None
        rows.append(np.array(own or by_speaker.get(taught_by.get(speaker, ""), []), dtype=np.int64))
    centres = np.stack([_centre(matrix, by_speaker.get(taught_by.get(name, ""), [])) for name in speakers])
    if average:
        rows, matrix, quality = _average(rows, matrix, quality)
    return Pairing(rows, matrix, quality, centres)


def _centre(matrix: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    """Unit-length mean of unit-length faces `[d]`; zeros without a face."""
    if not len(rows):
        return np.zeros(matrix.shape[1], np.float32)
    mean = matrix[list(rows)].mean(axis=0)
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)


def _cycle(names: Sequence[str], seed: int) -> dict[str, str]:
    if len(names) < 2:
        raise PairingError("the shuffled control needs faces of at least two speakers")
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    return dict(zip(order, order[1:] + order[:1], strict=True))


def _random(
    utterance_speakers: Sequence[str],
    speakers: Sequence[str],
    dimension: int,
    quality: dict[str, np.ndarray],
    seed: int,
) -> Pairing:
    vectors = np.random.default_rng(seed).standard_normal((len(speakers), dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    row_of = {name: np.array([row]) for row, name in enumerate(speakers)}
    unknown = np.full(len(speakers), np.nan, np.float32)
    rows = [row_of[name] for name in utterance_speakers]
    return Pairing(rows, vectors, dict.fromkeys(quality, unknown), vectors)


def _average(
    rows: list[np.ndarray], matrix: np.ndarray, quality: dict[str, np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    groups = {tuple(row): number for number, row in enumerate(dict.fromkeys(tuple(r) for r in rows if len(r)))}
    means = np.stack([_centre(matrix, group) for group in groups])
    averaged = {
        name: np.array([values[list(group)].mean() for group in groups], np.float32) for name, values in quality.items()
    }
    return [np.array([groups[tuple(row)]] if len(row) else [], np.int64) for row in rows], means, averaged
