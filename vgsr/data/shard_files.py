"""One shard: stretches of recordings in, a Parquet file of their sound and the place of each in it out.

A row is a stretch; its column `audio` is the content of a sound file that libsndfile reads. Nothing in the file is
compressed or encoded a second time, so the sound lies in it as it is, and one range of bytes is all that is read.
"""

import io
import mmap
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

PLACE = [
    ("uri", pa.string()),
    ("start", pa.int64()),  # samples of the recording
    ("samples", pa.int64()),  # of a channel
    ("frames", pa.int64()),  # of the whole recording, of a channel
    ("sample_rate", pa.int32()),  # Hz
    ("channels", pa.int16()),
    ("crc32", pa.uint32()),  # of the sound
]
ROWS = pa.schema([pa.field(name, kind, nullable=False) for name, kind in [*PLACE, ("audio", pa.binary())]])
FOUND = pa.schema([*PLACE, ("offset", pa.int64()), ("length", pa.int64())])  # bytes of the file

GROUP = 16_000_000  # bytes of sound that are held before they are written as a row group
BEGINNING = 64  # bytes by which a stretch is looked for
FLAC_CHANNELS = 8


@dataclass(frozen=True)
class Stretch:
    """A part of a recording: where it begins and how long it is, in samples; `audio` is a sound file's content."""

    uri: str
    start: int
    samples: int
    frames: int
    sample_rate: int
    channels: int
    audio: bytes


def encode(samples: np.ndarray, rate: int) -> bytes:
    """A sound file of exactly these samples `[T, channels]` (float32): FLAC of 16 or 24 bits where these hold them.

    Otherwise WAV of 32-bit floats: for samples that were floats, or the mean of channels, or resampled.
    """
    target = io.BytesIO()
    for bits in (16, 24):
        whole = samples.astype(np.float64) * 2 ** (bits - 1)
        if samples.shape[1] <= FLAC_CHANNELS and _integers(whole, bits):
            left = whole.astype(np.int32) << (32 - bits)  # libsndfile takes the upper bits
            soundfile.write(target, left, rate, format="FLAC", subtype=f"PCM_{bits}")
            return target.getvalue()
    soundfile.write(target, samples, rate, format="WAV", subtype="FLOAT")
    return target.getvalue()


def write(file: Path, stretches: Iterable[Stretch], facts: Mapping[str, str]) -> pa.Table:
    """Write a shard, with `facts` in its metadata; returns rows of FOUND, in the order of the stretches."""
    beginnings: list[bytes] = []
    rows = [FOUND.empty_table().drop_columns("offset")]
    with pq.ParquetWriter(
        file,
        ROWS.with_metadata(dict(facts)),
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
    ) as writer:
        for group in _groups(stretches):
            table = _table(group)
            writer.write_table(table)
            lengths = pa.array([len(stretch.audio) for stretch in group], pa.int64())
            rows.append(table.append_column("length", lengths).select(rows[0].column_names).cast(rows[0].schema))
            beginnings += [stretch.audio[:BEGINNING] for stretch in group]
    found = pa.concat_tables(rows)
    offsets = _offsets(file, beginnings, found["length"].to_pylist(), found["crc32"].to_pylist())
    return found.append_column("offset", pa.array(offsets, pa.int64())).select(FOUND.names)


def _integers(samples: np.ndarray, bits: int) -> bool:
    top = 2 ** (bits - 1)
    return bool(((samples >= -top) & (samples < top) & (samples == np.rint(samples))).all())


def _groups(stretches: Iterable[Stretch]) -> Iterator[list[Stretch]]:
    group: list[Stretch] = []
    for stretch in stretches:
        group.append(stretch)
        if sum(len(held.audio) for held in group) >= GROUP:
            yield group
            group = []
    if group:
        yield group


def _table(group: list[Stretch]) -> pa.Table:
    columns = {name: [getattr(stretch, name) for stretch in group] for name in ROWS.names if name != "crc32"}
    columns["crc32"] = [zlib.crc32(stretch.audio) for stretch in group]
    return pa.table(columns, schema=ROWS)


def _offsets(file: Path, beginnings: list[bytes], lengths: list[int], checksums: list[int]) -> list[int]:
    """Where each sound lies, in the order in which they lie: found by how it begins, and checked against its CRC.

    Parquet's own page indices give the place of a page, not of a value in it.
    """
    if not beginnings:
        return []
    offsets, at = [], 0
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for beginning, length, checksum in zip(beginnings, lengths, checksums, strict=True):
            at = content.find(beginning, at)
            while at >= 0 and zlib.crc32(content[at : at + length]) != checksum:
                at = content.find(beginning, at + 1)
            assert at >= 0, f"{file}: a sound is not there as it was written"
            offsets.append(at)
            at += length
    return offsets
