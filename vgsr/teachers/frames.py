"""Frames of videos as pictures: the uri of a frame in, the picture out, by FFmpeg (PyAV).

A frame's uri is the video's with the time behind it, `Actor_01/01-01-01-01-01-01-01.mp4#t=1.5`, in seconds from the
beginning, after W3C's Media Fragments URI 1.0.
"""

import re
from pathlib import Path

import av
import numpy as np

from vgsr.data import aac
from vgsr.teachers.bank import BankError

VIDEO = (".mp4", ".flv")
MOST_PIXELS = 1 << 26  # of a picture or a frame: 200 MB
MOMENT = re.compile(r"(.+)#t=(\d+(?:\.\d+)?)", re.DOTALL)

av.logging.set_level(av.logging.PANIC)  # what is wrong comes as an exception


def at(uri: str, seconds: float) -> str:
    """The uri of the frame that is seen `seconds` after the beginning of the video."""
    return f"{uri}#t={seconds:.3f}".rstrip("0").rstrip(".")


def parted(uri: str) -> tuple[str, float | None]:
    """The video and the seconds of a frame's uri; any other uri as it is, and None."""
    found = MOMENT.fullmatch(uri)
    return (found[1], float(found[2])) if found else (uri, None)


def length(path: str | Path) -> float:
    """Seconds of a video, as its header says; BankError with the reason why there are none."""
    try:
        with aac.opened(path, metadata_errors="replace") as container:
            stream = _pictures(container)
            if stream.duration and stream.time_base:
                return float(stream.duration * stream.time_base)
            if container.duration:
                return container.duration / av.time_base
    except (av.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from error
    raise BankError("video of no known length")


def frame(path: str | Path, seconds: float) -> np.ndarray:
    """The frame [H, W, 3] (RGB, uint8) that is seen `seconds` after the beginning; the last one where it has ended.

    BankError with the reason why it cannot be had. What is damaged behind the frame does not matter.
    """
    found = None
    try:
        with aac.opened(path, metadata_errors="replace") as container:
            stream = _pictures(container)
            begin = (stream.start_time or 0) * float(stream.time_base or 0)
            # From the first frame: these videos take seconds, and an index may be missing, or wrong.
            for decoded in container.decode(stream):
                if found is not None and decoded.time is not None and decoded.time - begin > seconds:
                    break
                found = decoded
            if found is not None and not found.is_corrupt:
                return found.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from error
    raise BankError("not a video, or a damaged one (no whole frame at that time)")


def _pictures(container: av.container.InputContainer) -> av.VideoStream:
    if not container.streams.video:
        raise BankError("no video in it")
    found = container.streams.video[0]
    if found.width * found.height > MOST_PIXELS:
        raise BankError(f"frames of {found.width:,} × {found.height:,} pixels; at most {MOST_PIXELS:,} are decoded")
    return found


def _unreadable(path: str | Path, error: Exception) -> BankError:
    if isinstance(error, FileNotFoundError):
        return BankError("video cannot be read (No such file or directory)")
    if Path(path).stat().st_size == 0:
        return BankError("video file is empty")
    return BankError(f"not a video, or a damaged one ({getattr(error, 'strerror', None) or error})")
