"""Shards on S3: copied whole where they fit, read by range where not, and what was damaged is asked for again."""

import numpy as np
import pytest
import soundfile

from vgsr import storage
from vgsr.data import manifest as manifests
from vgsr.data import recordings, shard_writing, shards
from vgsr.data.audio import AudioError

FILES = 12


@pytest.fixture
def loose(manifest_of, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(FILES):
        soundfile.write(tmp_path / f"{number}.flac", rng.normal(0, 0.1, 16000), 16000, subtype="PCM_16")
    return manifest_of(tmp_path / "m", tmp_path, [(f"{number}.flac", 0.0, 1.0, 16000) for number in range(FILES)])


@pytest.mark.parametrize("room", ["1GB", "50KB"])
def test_shards_on_s3_are_those_of_the_disk(loose, faulty, s3, monkeypatch, room):
    monkeypatch.setenv("VGSR_CACHE_SIZE", room)
    shard_writing.write(loose, f"{s3.place}/out", 60_000)
    packed = manifests.read(f"{s3.place}/out")
    faulty.requests.clear()
    faulty.plan(["503", None, None, None, "cut"])
    for number in range(FILES):
        for start in (0.0, 0.5):
            want = recordings.read(loose, f"{number}.flac", start, 0.3)
            np.testing.assert_array_equal(recordings.read(packed, f"{number}.flac", start, 0.3), want)
    of_shards = [r for r in faulty.requests if r.method == "GET" and "/shard-" in r.path and not r.fault]
    ranges = {request.range for request in of_shards}
    if room == "1GB":
        number = sum(name.startswith("shard-") for name in storage.listing(packed.shards))
        assert len({request.path for request in of_shards}) == number > 2 and len(of_shards) <= number + 1
    else:
        assert len(of_shards) == 2 * FILES and all(ranges)


def damage(content):
    return bytes(byte ^ 1 for byte in content[:-8]) + content[-8:]


@pytest.mark.parametrize("room", ["1GB", "50KB"])
def test_what_was_damaged_is_asked_for_once_more(loose, s3, tmp_path, monkeypatch, room):
    monkeypatch.setenv("VGSR_CACHE_SIZE", room)
    shard_writing.write(loose, f"{s3.place}/out", 10**8)
    packed = manifests.read(f"{s3.place}/out")
    want = recordings.read(packed, "3.flac")
    shard = f"{packed.shards}/shard-00000.parquet"
    copy = storage.local(shard)
    whole = copy.read_bytes()
    copy.write_bytes(damage(whole))
    shards.forget()
    np.testing.assert_array_equal(recordings.read(packed, "3.flac"), want)
    storage.put_bytes(damage(whole), shard)
    shards.forget()
    with pytest.raises(AudioError, match=r"3.flac: damaged in s3://.*/shard-00000.parquet"):
        recordings.read(packed, "3.flac")
