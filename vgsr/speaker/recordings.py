"""What the finished model is given: a file or an array in; its samples, or why it cannot be used, out."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vgsr.data import audio
from vgsr.data.audio import AudioError

# Below this, an embedding says little about the speaker; `embed` refuses (our definition, cf. 1-s test conditions).
SHORTEST_SECONDS = 0.5

Recording = str | Path | np.ndarray  # a file, or samples [T] at 16 kHz in floats


class RecordingsError(Exception):
    """Recordings that could not be used, all of them; the work on the others is not lost.

    problems: one AudioError a recording; result: what would have been returned, NaN where it could not be told.
    """

    def __init__(self, problems: Sequence[AudioError], result: np.ndarray) -> None:
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{len(problems):,} recordings cannot be used:{lines}")
        self.problems, self.result = list(problems), result

    def __reduce__(self) -> tuple[type["RecordingsError"], tuple[list[AudioError], np.ndarray]]:
        return RecordingsError, (self.problems, self.result)


def samples(recording: Recording, name: str = "the array") -> np.ndarray:
    """Samples `[T]` (float32, 16 kHz, mono) of a file, or of an array that holds them already.

    AudioError, under the file's name or an array's `name`, for what cannot be read, is shorter than SHORTEST_SECONDS,
    or is an array of another kind: integers are refused, because their full scale would have to be guessed.
    """
    wave = _checked(recording, name) if isinstance(recording, np.ndarray) else audio.read(recording)
    if len(wave) < SHORTEST_SECONDS * audio.RATE:
        raise AudioError(
            name_of(recording, name),
            f"{len(wave) / audio.RATE:.2f} s is too short to know a speaker by (at least {SHORTEST_SECONDS} s)",
        )
    return wave


def name_of(recording: Recording, name: str) -> str:
    """What a message calls the recording: the path of a file, or `name` for an array."""
    return name if isinstance(recording, np.ndarray) else str(recording)


def identity(recording: Recording) -> str:
    """What equal recordings share: the absolute path of a file, or the type and digest of an array."""
    if isinstance(recording, np.ndarray):
        return f"{recording.dtype} {recording.shape} {hashlib.sha256(recording.tobytes()).hexdigest()}"
    return str(Path(recording).absolute())


def _checked(wave: np.ndarray, name: str) -> np.ndarray:
    if not np.issubdtype(wave.dtype, np.floating):
        hint = "; divide int16 by 32768" if wave.dtype == np.int16 else ""
        raise AudioError(name, f"samples of type {wave.dtype}: they must be floats in [-1, 1]{hint}")
    if wave.ndim != 1:
        raise AudioError(name, f"shape {list(wave.shape)}: samples must be one-dimensional; average the channels")
    with np.errstate(over="ignore"):
        wave = wave.astype(np.float32, copy=False)
    if not np.isfinite(wave).all():
        raise AudioError(name, "samples that are not numbers (NaN or infinite)")
    return wave
