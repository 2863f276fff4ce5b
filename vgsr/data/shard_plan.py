"""Which recordings go into which shard: a manifest and a size in, the same plan for them every time out.

Sizes are estimated from the utterances, before anything is read, so a run that was stopped goes on with its shards.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from vgsr.data import shard_index
from vgsr.data.manifest import Manifest
from vgsr.data.stretches import LONGEST

SAMPLE_BYTES = 1.2  # speech as FLAC of 16 bits, in the wild and read (AVSpeech 1.19, LibriSpeech 1.1)

Regions = list[tuple[float, float]]  # start and length in seconds


@dataclass(frozen=True)
class Plan:
    """Recordings in the manifest's order; `firsts[n]` to `firsts[n + 1]` are those of shard n.

    uris: `[R]`; starts, seconds: of the utterances, by recording; bounds `[R + 1]`: where each recording's begin.
    """

    digest: str
    uris: list[str]
    starts: np.ndarray
    seconds: np.ndarray
    bounds: np.ndarray
    firsts: np.ndarray

    @property
    def shards(self) -> int:
        """How many there will be."""
        return len(self.firsts) - 1

    def recordings(self, shard: int) -> Iterator[tuple[str, Regions]]:
        """The recordings of a shard, each with the regions that utterances use."""
        for number in range(self.firsts[shard], self.firsts[shard + 1]):
            own = slice(self.bounds[number], self.bounds[number + 1])
            yield self.uris[number], list(zip(self.starts[own].tolist(), self.seconds[own].tolist(), strict=True))

    def count(self, shard: int) -> int:
        """Recordings of a shard."""
        return int(self.firsts[shard + 1] - self.firsts[shard])


def plan(manifest: Manifest, size: int) -> Plan:
    """Shards of about `size` bytes each; a recording is never in two."""
    table = manifest.utterances
    names = pc.dictionary_encode(table["uri"]).combine_chunks()
    recording = names.indices.to_numpy()
    order = np.argsort(recording, kind="stable")
    starts, seconds = (table[name].to_numpy() for name in ("start", "seconds"))
    estimate = np.bincount(recording, seconds * table["sample_rate"].to_numpy() * SAMPLE_BYTES)
    shard = ((np.cumsum(estimate) - estimate) // size).astype(int)
    facts = f"{shard_index.FORMAT} {manifest.digest} {size} {LONGEST}"
    return Plan(
        digest=hashlib.sha256(facts.encode()).hexdigest(),
        uris=names.dictionary.to_pylist(),
        starts=starts[order],
        seconds=seconds[order],
        bounds=np.searchsorted(recording[order], np.arange(len(estimate) + 1)),
        firsts=np.append(np.flatnonzero(np.diff(shard, prepend=-1)), len(shard)),
    )
