"""Reading audio: a file or a part of it in, mono float32 samples at 16 kHz out.

libsndfile reads WAV, FLAC, MP3 and Ogg; a part is read by seeking, never by decoding the whole file.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


class AudioError(Exception):
    """A recording that cannot be used; the text names the file and the reason."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self) -> tuple[type["AudioError"], tuple[str, str]]:
        return AudioError, (self.path, self.reason)


@dataclass(frozen=True)
class AudioInfo:
    """What the header says: length in seconds, rate in Hz, number of channels."""

    seconds: float
    sample_rate: int
    channels: int


def probe(path: str | Path) -> AudioInfo:
    """Read the header only; AudioError for what is missing, unreadable or empty."""
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise AudioError(path, _reason(path, error)) from error
    if info.frames <= 0 or info.samplerate <= 0:
        raise AudioError(path, "no samples in it")
    return AudioInfo(info.frames / info.samplerate, info.samplerate, info.channels)


def read(path: str | Path, start: float = 0.0, seconds: float | None = None, sample_rate: int = RATE) -> np.ndarray:
    """Samples `[T]` (float32, mono: mean of the channels) from `start`, `seconds` long or to the end.

    The result may be shorter than asked where the file ends; AudioError where nothing is left to read.
    """
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = file.samplerate
            file.seek(min(round(start * rate), file.frames))
            wanted = -1 if seconds is None else round(seconds * rate)
            samples = file.read(wanted, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise AudioError(path, _reason(path, error)) from error
    if not len(samples):
        raise AudioError(path, f"no samples at {start:.2f} s")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise AudioError(path, "samples that are not numbers (NaN or infinite)")
    return mono if rate == sample_rate else resample(mono, rate, sample_rate)


def resample(wave: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """`[T]` at `rate` Hz to `[ceil(T * sample_rate / rate)]` at `sample_rate` (windowed sinc of torchaudio)."""
    import torch
    from torchaudio.functional import resample as sinc

    return sinc(torch.from_numpy(np.ascontiguousarray(wave)), rate, sample_rate).numpy()


def _reason(path: str | Path, error: Exception) -> str:
    if not Path(path).is_file():
        return "no such file"
    if Path(path).stat().st_size == 0:
        return "empty file"
    return f"unreadable ({str(error).split(': ', 1)[-1].strip()})"
