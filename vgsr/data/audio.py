"""Reading audio: a file or a part of it in, mono float32 samples at 16 kHz out.

libsndfile reads WAV, FLAC, MP3 and Ogg; a part is read by seeking, never by decoding the whole file. FFmpeg (PyAV)
reads `.m4a`, `.mp4` and `.aac` (`vgsr.data.aac`). A file on S3 is read from this node's copy of it.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from vgsr import storage
from vgsr.data import aac
from vgsr.storage import Place, StorageError

RATE = 16000
INEXACT = 0.1  # s that a header may be wrong by: an MP3's does not count what its encoder put around the sound


class AudioError(Exception):
    """A recording that cannot be used; the text names the file and the reason."""

    def __init__(self, path: Place, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self) -> tuple[type["AudioError"], tuple[str, str]]:
        return AudioError, (self.path, self.reason)


@dataclass(frozen=True)
class AudioInfo:
    """What the header says: length in seconds, rate in Hz, number of channels; libsndfile's name of the format."""

    seconds: float
    sample_rate: int
    channels: int
    format: str = field(default="", compare=False)

    @property
    def frames(self) -> int:
        """Samples of a channel."""
        return round(self.seconds * self.sample_rate)


def probe(place: Place) -> AudioInfo:
    """Read the header only; AudioError for what is missing, unreadable or empty."""
    path = _path(place)
    try:
        if _by_ffmpeg(path):
            stream = aac.probe(path)
            rate, channels, frames, kind = stream.rate, stream.channels, stream.frames, ""
        else:
            header = soundfile.info(str(path))
            rate, channels, frames, kind = header.samplerate, header.channels, header.frames, header.format
    except (aac.DecodingError, soundfile.LibsndfileError, OSError, RuntimeError, UnicodeEncodeError) as error:
        raise AudioError(place, _reason(path, error)) from error
    if frames <= 0 or rate <= 0:
        raise AudioError(place, "no samples in it")
    return AudioInfo(frames / rate, rate, channels, kind)


def read(place: Place, start: float = 0.0, seconds: float | None = None, sample_rate: int = RATE) -> np.ndarray:
    """Samples `[T]` (float32, mono: mean of the channels) from `start`, `seconds` long or to the end.

    The result may be shorter than asked where the file ends; AudioError where nothing is left to read.
    """
    samples, rate = recorded(place, start, seconds)
    return mono(place, samples, rate, start, sample_rate)


def recorded(place: Place, start: float = 0.0, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Samples `[T, channels]` (float32) as they were recorded, none where the file has ended, and their rate in Hz."""
    path = _path(place)
    try:
        if _by_ffmpeg(path):
            samples, rate = aac.read(path, start, seconds)
            return samples.astype(np.float32) / 32768, rate
        with soundfile.SoundFile(str(path)) as file:
            return _part(file, start, seconds)
    except (aac.DecodingError, soundfile.LibsndfileError, OSError, RuntimeError, UnicodeEncodeError) as error:
        raise AudioError(place, _reason(path, error)) from error


def decode(content: bytes, name: Place, start: float = 0.0, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """`recorded` of the content of a file that libsndfile reads; `name` is for the AudioError."""
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            return _part(file, start, seconds)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(name, f"unreadable ({_said(error)})") from error


def mono(name: Place, samples: np.ndarray, rate: int, start: float, sample_rate: int = RATE) -> np.ndarray:
    """`[T, channels]` at `rate` Hz to `[T']`, the channels' mean at `sample_rate`; AudioError for none and for NaN."""
    if not len(samples):
        raise AudioError(name, f"no samples at {start:.2f} s")
    wave = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not np.isfinite(wave).all():
        raise AudioError(name, "samples that are not numbers (NaN or infinite)")
    return wave if rate == sample_rate else resample(wave, rate, sample_rate)


def resample(wave: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """`[T]` at `rate` Hz to `[ceil(T * sample_rate / rate)]` at `sample_rate` (windowed sinc of torchaudio)."""
    import torch
    from torchaudio.functional import resample as sinc

    return sinc(torch.from_numpy(np.ascontiguousarray(wave)), rate, sample_rate).numpy()


def _part(file: soundfile.SoundFile, start: float, seconds: float | None) -> tuple[np.ndarray, int]:
    rate = file.samplerate
    first = min(round(start * rate), file.frames)
    wanted = file.frames - first if seconds is None else min(round(seconds * rate), file.frames - first)
    file.seek(first)
    samples = file.read(wanted, dtype="float32", always_2d=True)
    if len(samples) < wanted - INEXACT * rate:
        there, told = (f"{(first + count) / rate:.2f} s" for count in (len(samples), wanted))
        raise RuntimeError(f"cut off or damaged, it ends after {there} of {told}")
    return samples, rate


def _by_ffmpeg(path: Path) -> bool:
    return path.suffix.lower() in aac.SUFFIXES


def _path(place: Place) -> Path:
    """The file itself, or this node's copy. StorageError where S3 does not answer: that is no fault of a recording."""
    if not storage.remote(place):
        return Path(place)
    try:
        return storage.local(place)
    except StorageError:
        if storage.stat(place) is None:
            raise AudioError(place, "no such file") from None
        raise


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "its name is not UTF-8; rename it"
    if not path.is_file():
        return "no such file"
    if path.stat().st_size == 0:
        return "empty file"
    return f"unreadable ({_said(error)})"


def _said(error: Exception) -> str:
    return str(error).split(": ", 1)[-1].strip()
