"""A recording on its way into a shard: its file in, the stretches of it that are kept out.

The rule (our definition), by which shards give exactly the samples that the file gives:

- A FLAC file of at most a minute, all of which is used, goes in byte for byte.
- MP3 and Ogg go in byte for byte and whole: what they decode to depends, in the last bit, on where one begins.
- Everything else (WAV, longer FLAC, parts of recordings, `.m4a`, joined recordings) is decoded, and what utterances use
  of it is kept, a minute a row at the most: as FLAC where that holds the samples, else as WAV of floats.
"""

from dataclasses import replace

from vgsr import storage
from vgsr.data import recordings
from vgsr.data.audio import AudioError
from vgsr.data.shard_files import Stretch, encode
from vgsr.data.shard_plan import Regions
from vgsr.data.stretches import LONGEST, stretches

LOSSY = ("MP3", "OGG")


def rows(root: str, uri: str, regions: Regions) -> list[Stretch]:
    """The stretches of one recording. AudioError where any of what is to be kept cannot be read."""
    info = recordings.probe_loose(root, uri)
    ranges = stretches(regions, info.sample_rate, info.frames)
    everything = ranges == [(0, info.frames)] and info.seconds <= LONGEST
    if recordings.JOINT not in uri and (info.format in LOSSY or (info.format == "FLAC" and everything)):
        content = storage.read_bytes(storage.local(recordings.place(root, uri)))
        return [Stretch(uri, 0, info.frames, info.frames, info.sample_rate, info.channels, content)]
    kept, frames = [], info.frames
    for first, last in ranges:
        samples, rate = recordings.recorded(root, uri, first / info.sample_rate, (last - first) / info.sample_rate)
        if len(samples):
            kept.append(Stretch(uri, first, len(samples), frames, rate, samples.shape[1], encode(samples, rate)))
        if len(samples) < last - first:  # there is less in the file than its header says
            frames = first + len(samples)
            break
    if not kept:
        raise AudioError(recordings.place(root, uri), "no samples where its utterances are")
    return [replace(stretch, frames=frames) for stretch in kept]
