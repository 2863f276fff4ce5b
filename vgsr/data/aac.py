"""Sound in MP4 containers and raw AAC (`.m4a`, `.mp4`, `.aac`), by PyAV: a file or a part of it in, 16-bit samples out.

What such a file's samples are (our definition): the first stream of sound, decoded in blocks of BLOCK seconds, each by
a decoder that is new and begins PREROLL seconds before the block, and rounded to 16 bits, as one who converts the
corpus to WAV has them. An AAC decoder remembers what it decoded before: it overlaps neighbouring packets, and fills
bands with noise that it draws in a row. Blocks make a sample the same whichever part of the recording is read, and a
part of a long recording cheap. In the first block the samples are those of FFmpeg; later they are, too, unless the
encoder used noise substitution.

A raw `.aac` file has no index, so it is one block, and its length is that of its packets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SUFFIXES = (".m4a", ".mp4", ".aac")
BLOCK = 20  # s
PREROLL = 0.25  # s

av.logging.set_level(av.logging.PANIC)  # what is wrong comes as an exception


# FFmpeg looks at what is in a file, not at its name, and a playlist names other files, or other machines. Only what
# holds its sound and pictures itself is opened, and no other file.
CONTAINERS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,aac,flv,matroska,webm,mp3,ogg,wav,flac,avi,mpegts,mpeg",
    "protocol_whitelist": "file",
}


class DecodingError(Exception):
    """A file that FFmpeg cannot read; the text is the reason."""


@dataclass(frozen=True)
class Stream:
    """The sound of a file: rate in Hz, channels, frames (samples of a channel); whether one can seek in it."""

    rate: int
    channels: int
    frames: int
    indexed: bool


def probe(path: Path) -> Stream:
    """What the header says of the sound in a file; DecodingError."""
    try:
        with opened(path) as container:
            return _stream(container)
    except (av.FFmpegError, OSError) as error:
        raise DecodingError(error.strerror or str(error)) from error


def opened(path: str | Path, metadata_errors: str = "strict") -> av.container.InputContainer:
    """A film or a recording of this machine, whose content refers to nothing else. av.FFmpegError, OSError."""
    # With its scheme: FFmpeg would read one out of a name like `concat:a`.
    return av.open(f"file:{Path(path).absolute()}", options=dict(CONTAINERS), metadata_errors=metadata_errors)


def read(path: Path, start: float = 0.0, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Samples `[T, channels]` (int16) from `start`, `seconds` long or to the end, and the rate. DecodingError."""
    stream = probe(path)
    first = min(round(start * stream.rate), stream.frames)
    last = stream.frames if seconds is None else min(first + round(seconds * stream.rate), stream.frames)
    length = BLOCK * stream.rate if stream.indexed else max(stream.frames, 1)
    parts = [np.empty((0, stream.channels), np.int16)]
    try:
        for begin in range(first // length * length, last, length):
            parts += _block(path, begin, max(first, begin), min(last, begin + length))
    except (av.FFmpegError, OSError) as error:
        raise DecodingError(error.strerror or str(error)) from error
    if any(part.shape[1] != stream.channels for part in parts):
        raise DecodingError("its number of channels changes")
    return np.concatenate(parts), stream.rate


def _stream(container: av.container.InputContainer) -> Stream:
    if not container.streams.audio:
        raise DecodingError("there is no sound in it")
    found = container.streams.audio[0]
    if not found.rate or not found.channels:
        raise DecodingError("its sound has no rate or no channels")
    indexed = found.frames > 0 and bool(found.duration)
    length = found.duration if indexed else sum(packet.duration or 0 for packet in container.demux(found))
    return Stream(found.rate, found.channels, round((length or 0) / _ticks(found)), indexed)


def _ticks(stream: av.AudioStream) -> Fraction:
    """What the time stamps count in the time of a sample; mostly 1."""
    return 1 / (stream.rate * (stream.time_base or Fraction(1, stream.rate)))


def _block(path: Path, begin: int, first: int, last: int) -> Iterator[np.ndarray]:
    """Samples `first` to `last` of the block that begins at `begin`."""
    with opened(path) as container:
        stream = container.streams.audio[0]
        zero = stream.start_time or 0  # of the time stamps
        ticks = _ticks(stream)
        if begin:
            before = max(0, begin - round(PREROLL * stream.rate))
            container.seek(zero + int(before * ticks), stream=stream, backward=True)
        to_16_bits = av.AudioResampler(format="s16p")
        at = None
        for decoded in container.decode(stream):
            if at is None:
                at = round(((decoded.pts or 0) - zero) / ticks) if begin else 0
            if decoded.rate != stream.rate:
                raise DecodingError(f"its rate changes from {stream.rate} to {decoded.rate} Hz")
            for frame in to_16_bits.resample(decoded):
                yield frame.to_ndarray().T[max(0, first - at) : max(0, last - at)]
                at += frame.samples
            if at >= last:
                return
