"""The recordings of a corpus, wherever they lie: a uri of a manifest in, mono float32 samples at 16 kHz out.

A uri is a path under the corpus' root, or an absolute one, or `s3://…`; several with `|` between them are one recording
joined from them. A manifest with shards has all of them in those instead.
"""

from collections.abc import Sequence

import numpy as np

from vgsr.data import audio
from vgsr.data.audio import AudioInfo
from vgsr.data.manifest import Manifest
from vgsr.storage import join

JOINT = "|"


def joined(uris: Sequence[str]) -> str:
    """The uri of several recordings, one behind the other."""
    return JOINT.join(uris)


def parts(uri: str) -> list[str]:
    """The recordings that a uri joins; mostly one."""
    return uri.split(JOINT)


def read(manifest: Manifest, uri: str, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
    """Samples `[T]` of a manifest's recording, as `audio.read` gives them. AudioError."""
    return loose(manifest.location, uri, start, seconds)


def probe(manifest: Manifest, uri: str) -> AudioInfo:
    """Length, rate and channels. AudioError."""
    return probe_loose(manifest.location, uri)


def loose(root: str, uri: str, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
    """`read` of a recording under `root` that is a file of its own."""
    return audio.read(place(root, uri), start, seconds)


def probe_loose(root: str, uri: str) -> AudioInfo:
    """`probe` of a recording under `root` that is a file of its own."""
    return audio.probe(place(root, uri))


def place(root: str, uri: str) -> str:
    """Where one file lies; absolute paths and uris with a scheme do not lie under the root."""
    return uri if "://" in uri or uri.startswith("/") else join(root, uri)
