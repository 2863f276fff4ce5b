"""The recordings of a corpus, wherever they lie: a uri of a manifest in, mono float32 samples at 16 kHz out.

A uri is a path under the corpus' root, and leads nowhere else; several with `|` between them are one recording joined
from them, one behind the other. Its samples are (our definition) those of its parts, each read whole, mono at
16 kHz. A manifest with shards has all of them in those instead.
"""

from collections.abc import Sequence

import numpy as np

from vgsr.data import audio, shards
from vgsr.data.audio import RATE, AudioError, AudioInfo
from vgsr.data.manifest import Manifest
from vgsr.storage import StorageError, inside

JOINT = "|"


def joined(uris: Sequence[str]) -> str:
    """The uri of several recordings, one behind the other."""
    return JOINT.join(uris)


def parts(uri: str) -> list[str]:
    """The recordings that a uri joins; mostly one."""
    return uri.split(JOINT)


def read(manifest: Manifest, uri: str, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
    """Samples `[T]` of a manifest's recording, as `audio.read` gives them. AudioError; ShardError for broken shards."""
    if manifest.shards is None:
        return loose(manifest.location, uri, start, seconds)
    return audio.mono(uri, *shards.recorded(manifest.shards, uri, start, seconds), start)


def probe(manifest: Manifest, uri: str) -> AudioInfo:
    """Length, rate and channels. AudioError; ShardError for broken shards."""
    return probe_loose(manifest.location, uri) if manifest.shards is None else shards.probe(manifest.shards, uri)


def loose(root: str, uri: str, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
    """`read` of a recording under `root` that is a file of its own, or several."""
    return audio.mono(place(root, uri), *recorded(root, uri, start, seconds), start)


def recorded(root: str, uri: str, start: float = 0.0, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """`audio.recorded` of a recording under `root`: samples `[T, channels]` and their rate. AudioError."""
    if JOINT not in uri:
        return audio.recorded(place(root, uri), start, seconds)
    first = round(start * RATE)
    last = None if seconds is None else first + round(seconds * RATE)
    waves = [np.empty(0, np.float32)]
    for there in [place(root, part) for part in parts(uri)]:
        if last is not None and sum(map(len, waves)) >= last:
            break
        waves.append(audio.read(there))
    return np.concatenate(waves)[first:last, None], RATE


def probe_loose(root: str, uri: str) -> AudioInfo:
    """`probe` of a recording under `root` that is a file of its own, or several."""
    if JOINT not in uri:
        return audio.probe(place(root, uri))
    found = [audio.probe(there) for there in [place(root, part) for part in parts(uri)]]
    return AudioInfo(sum(-(-info.frames * RATE // info.sample_rate) for info in found) / RATE, RATE, 1)


def place(root: str, uri: str) -> str:
    """Where one file lies. AudioError for a uri that leads out of the root: it is not followed."""
    try:
        return inside(root, uri)
    except StorageError as error:
        raise AudioError(root, str(error)) from error
