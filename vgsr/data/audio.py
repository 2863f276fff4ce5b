"""Reading audio: a file or a part of it in, mono float32 samples at 16 kHz out.

libsndfile reads WAV, FLAC, MP3 and Ogg; a part is read by seeking, never by decoding the whole file. FFmpeg (PyAV)
reads `.m4a`, `.mp4` and `.aac` (`vgsr.data.aac`). A file on S3 is read from this node's copy of it.
"""

import io
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from vgsr import storage
from vgsr.data import aac
from vgsr.storage import Place, StorageError

RATE = 16000
LONGEST_DECODED = 1 << 29  # samples of all channels that are decoded at once: 9 hours of one channel at 16 kHz
# A file of so many bytes may say that it holds so many samples (our definition): silence as FLAC has 320 a byte.
SAMPLES, SAMPLES_A_BYTE = 1 << 24, 1000
RATES = (1000, 1_000_000)  # Hz
FILTERS = 1 << 26  # numbers in the filters of a resampling: from a prime rate there may be billions
INEXACT = 0.1  # s that a header may be wrong by: an MP3's does not count what its encoder put around the sound


FAILURES = (aac.DecodingError, soundfile.LibsndfileError, OSError, RuntimeError, UnicodeEncodeError)


class _Forward(soundfile.SoundFile):
    """One that goes on where a read ended: its parent then seeks there, and FLAC decodes a frame for nothing."""

    def seekable(self) -> bool:
        """Not by the parent's reads; `seek` itself works."""
        return False


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
        if frames <= 0 or rate <= 0:
            raise AudioError(place, "no samples in it")
        _check_claims(rate, channels, frames, path.stat().st_size)
    except FAILURES as error:
        raise AudioError(place, _reason(path, error)) from error
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
    _check_part(place, start, seconds)
    try:
        if _by_ffmpeg(path):
            stream = aac.probe(path)
            _check_claims(stream.rate, stream.channels, stream.frames, path.stat().st_size)
            wanted = stream.frames if seconds is None else min(stream.frames, round(seconds * stream.rate))
            _check_length(wanted, stream.channels, stream.rate)
            samples, rate = aac.read(path, start, seconds)
            return samples.astype(np.float32) / 32768, rate
        with _Forward(str(path)) as file:
            return _part(file, path.stat().st_size, start, seconds)
    except FAILURES as error:
        raise AudioError(place, _reason(path, error)) from error


def decode(content: bytes, name: Place, start: float = 0.0, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """`recorded` of the content of a file that libsndfile reads; `name` is for the AudioError."""
    _check_part(name, start, seconds)
    try:
        with _Forward(io.BytesIO(content)) as file:
            return _part(file, len(content), start, seconds)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(name, f"unreadable ({_said(error)})") from error


def mono(name: Place, samples: np.ndarray, rate: int, start: float, sample_rate: int = RATE) -> np.ndarray:
    """`[T, channels]` at `rate` Hz to `[T']`, the channels' mean at `sample_rate`; AudioError for none and for NaN."""
    if not len(samples):
        raise AudioError(name, f"no samples at {start:.2f} s")
    wave = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not np.isfinite(wave).all():
        raise AudioError(name, "samples that are not numbers (NaN or infinite)")
    if rate == sample_rate:
        return wave
    if rate * sample_rate // math.gcd(rate, sample_rate) ** 2 > FILTERS:
        raise AudioError(name, f"a rate of {rate} Hz, which cannot be resampled to {sample_rate}; convert the file")
    return resample(wave, rate, sample_rate)


def resample(wave: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """`[T]` at `rate` Hz to `[ceil(T * sample_rate / rate)]` at `sample_rate` (windowed sinc of torchaudio)."""
    import torch
    from torchaudio.functional import resample as sinc

    return sinc(torch.from_numpy(np.ascontiguousarray(wave)), rate, sample_rate).numpy()


def _part(file: soundfile.SoundFile, size: int, start: float, seconds: float | None) -> tuple[np.ndarray, int]:
    rate = file.samplerate
    _check_claims(rate, file.channels, file.frames, size)
    first = min(round(start * rate), file.frames)
    wanted = file.frames - first if seconds is None else min(round(seconds * rate), file.frames - first)
    _check_length(wanted, file.channels, rate)
    if first:
        file.seek(first)
    samples = file.read(wanted, dtype="float32", always_2d=True)
    if len(samples) < wanted - INEXACT * rate:
        there, told = (f"{(first + count) / rate:.2f} s" for count in (len(samples), wanted))
        raise RuntimeError(f"cut off or damaged, it ends after {there} of {told}")
    return samples, rate


def _check_part(name: Place, start: float, seconds: float | None) -> None:
    """AudioError where a table has no moments: NaN, infinity, years."""
    if not 0 <= start < 1e9 or not (seconds is None or 0 <= seconds < 1e9):
        raise AudioError(name, f"there is no part of it from {start:g} s, {seconds} s long")


def _check_claims(rate: int, channels: int, frames: int, size: int) -> None:
    """RuntimeError where a header says what no file of `size` bytes holds, before anything is made of it."""
    if not RATES[0] <= rate <= RATES[1]:
        raise RuntimeError(f"a rate of {rate} Hz; it must be from {RATES[0]:,} to {RATES[1]:,}")
    if frames * channels > SAMPLES + SAMPLES_A_BYTE * size:
        raise RuntimeError(f"it claims {frames / rate / 3600:,.1f} hours of sound in {size:,} bytes")


def _check_length(frames: int, channels: int, rate: int) -> None:
    if frames * channels > LONGEST_DECODED:
        raise RuntimeError(
            f"{frames / rate / 3600:,.1f} hours in one piece of {channels} channels are too long; cut the file"
        )


def _by_ffmpeg(path: Path) -> bool:
    return path.suffix.lower() in aac.SUFFIXES


def _path(place: Place) -> Path:
    """The file itself, or this node's copy. StorageError where S3 does not answer: that is no fault of a recording."""
    if not storage.remote(place):
        try:
            storage.stat(place)
        except StorageError as error:  # a pipe would be waited for, a device has no end
            raise AudioError(str(place)[:200], str(error)) from error
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
