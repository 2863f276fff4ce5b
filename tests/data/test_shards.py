"""Shards: the same samples as from loose files, damage noticed, plain Parquet for everybody else."""

import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vgsr.data import audio, batches, recordings, shard_files, shard_writing, shards
from vgsr.data import manifest as manifests
from vgsr.data.audio import AudioError
from vgsr.data.shard_index import ShardError
from vgsr.training.crops import Crops

FORMATS = {  # name: rate, channels, libsndfile's subtype
    "pcm16.wav": (16000, 1, "PCM_16"),
    "stereo.wav": (22050, 2, "PCM_16"),
    "pcm8.wav": (8000, 1, "PCM_U8"),
    "pcm24.wav": (48000, 1, "PCM_24"),
    "pcm32.wav": (16000, 1, "PCM_32"),
    "float.wav": (16000, 1, "FLOAT"),
    "many.wav": (16000, 9, "PCM_16"),
    "ulaw.wav": (8000, 1, "ULAW"),
    "whole.flac": (16000, 1, "PCM_16"),
    "24.flac": (44100, 2, "PCM_24"),
    "part.flac": (16000, 1, "PCM_16"),
    "part.ogg": (16000, 1, "VORBIS"),
    "opus.ogg": (48000, 1, "OPUS"),
    "part.mp3": (16000, 2, "MPEG_LAYER_III"),
}
SECONDS = 3.0


@pytest.fixture(scope="session")
def loose(aac, speech_like, manifest_of, tmp_path_factory):
    """A manifest of every format; of those called `part` only two pieces are used."""
    root = tmp_path_factory.mktemp("corpus")
    rng, rows = np.random.default_rng(0), []
    for name, (rate, channels, subtype) in FORMATS.items():
        wave = rng.normal(0, 0.1, (round(SECONDS * rate), channels)).clip(-1, 0.999)
        soundfile.write(root / name, wave, rate, subtype=subtype)
        if name.startswith("part"):
            rows += [(name, 0.25, 0.5, rate), (name, 1.1, 1.3, rate)]
        else:
            halves = [(name, 0.0, SECONDS / 2, rate), (name, SECONDS / 2, SECONDS / 2, rate)]
            rows += [(name, 0.0, SECONDS, rate), *halves]
    for name, rate, channels, seconds in [
        ("a.m4a", 16000, 1, 25.0),
        ("b.mp4", 44100, 2, 3.0),
        ("c.aac", 16000, 1, 3.0),
    ]:
        aac(root / name, speech_like(seconds, rate, channels), rate, bit_rate=24000)
        rows += [(name, 0.0, seconds, rate), (name, 0.0, seconds / 2, rate), (name, seconds / 2, seconds / 2, rate)]
    rows += [("pcm16.wav|stereo.wav", 0.0, 2 * SECONDS, 16000), ("whole.flac|part.flac", 0.0, 2 * SECONDS, 16000)]
    return manifest_of(tmp_path_factory.mktemp("manifest"), root, rows)


@pytest.fixture(scope="session")
def packed(loose, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed")
    shard_writing.write(loose, out, 400_000)
    return manifests.read(out)


def copied(packed, folder):
    """The same shards somewhere else, for what spoils them."""
    for name in ("shards/index.parquet", "shards/problems.parquet", *shard_names(packed)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(f"{packed.place}/{name}", folder / name)
    return str(folder / "shards")


def shard_names(packed):
    return sorted(f"shards/{name}" for name in os.listdir(packed.shards) if name.startswith("shard-"))


def assert_same(loose, packed, uri, start, seconds):
    want = recordings.read(loose, uri, start, seconds)
    np.testing.assert_array_equal(recordings.read(packed, uri, start, seconds), want, uri)


@given(row=st.integers(0, 999), part=st.tuples(st.floats(0, 1), st.floats(0.05, 1)))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_part_of_an_utterance_is_that_of_the_loose_file(loose, packed, row, part):
    row = loose.utterances.slice(row % len(loose.utterances), 1).to_pylist()[0]
    offset = part[0] * row["seconds"]
    seconds = part[1] * (row["seconds"] - offset)
    if seconds >= 0.001:
        assert_same(loose, packed, row["uri"], row["start"] + offset, seconds)


def test_every_utterance_is_that_of_the_loose_file(loose, packed):
    assert packed.digest == loose.digest and packed.location == loose.location and loose.shards is None
    assert len(shard_names(packed)) > 2
    for row in loose.utterances.to_pylist():
        assert_same(loose, packed, row["uri"], row["start"], row["seconds"])
        assert recordings.probe(packed, row["uri"]) == recordings.probe(loose, row["uri"])
    assert_same(loose, packed, "whole.flac", 0.5, None)
    with pytest.raises(AudioError, match=r"whole.flac: no samples at 3"):
        recordings.read(packed, "whole.flac", 3.0)


def test_what_no_utterance_uses_is_not_there(packed):
    for start, seconds in [(0.25, 1.0), (0.0, 0.3), (2.0, None)]:
        with pytest.raises(AudioError, match=r"part.flac: .* holds only what utterances use"):
            recordings.read(packed, "part.flac", start, seconds)
    for function in (recordings.read, recordings.probe):
        with pytest.raises(AudioError, match=r"other.wav: not in the shards"):
            function(packed, "other.wav")


def test_others_read_the_shards_as_plain_parquet(loose, packed):
    table = pa.concat_tables(pq.read_table(f"{packed.place}/{name}") for name in shard_names(packed))
    assert set(table["uri"].to_pylist()) == set(loose.utterances["uri"].to_pylist())
    for row in table.to_pylist():
        samples, rate = audio.decode(row["audio"], row["uri"])
        whole, _ = recordings.recorded(loose.location, row["uri"])
        assert (rate, samples.shape[1], len(whole)) == (row["sample_rate"], row["channels"], row["frames"])
        np.testing.assert_array_equal(samples, whole[row["start"] :][: row["samples"]])
    content = dict(zip(table["uri"].to_pylist(), table["audio"].to_pylist(), strict=True))
    for name in ("whole.flac", "24.flac", "part.mp3", "opus.ogg"):
        assert content[name] == Path(loose.location, name).read_bytes()
    for name in ("pcm16.wav", "stereo.wav", "pcm8.wav", "pcm24.wav", "ulaw.wav", "part.flac", "whole.flac|part.flac"):
        assert content[name].startswith(b"fLaC"), name


def test_the_index_says_where_the_sound_lies(packed):
    index = pq.read_table(f"{packed.shards}/index.parquet").to_pylist()
    rows = {name: pq.read_table(f"{packed.place}/{name}").to_pylist() for name in shard_names(packed)}
    found = {(row["uri"], row["start"]): (name, row["audio"]) for name in rows for row in rows[name]}
    assert len(index) == len(found)
    for row in index:
        name, sound = found[row["uri"], row["start"]]
        assert name == f"shards/shard-{row['shard']:05d}.parquet"
        with open(f"{packed.place}/{name}", "rb") as file:
            file.seek(row["offset"])
            assert file.read(row["length"]) == sound


@given(st.lists(st.integers(-(2**24), 2**24), min_size=1, max_size=40), st.integers(1, 10), st.integers(0, 26))
def test_whatever_the_samples_are_they_are_kept(values, channels, bits):
    samples = np.tile(np.array(values, np.float32)[:, None] / 2**bits, channels)
    np.testing.assert_array_equal(audio.decode(shard_files.encode(samples, 16000), "x")[0], samples)


def test_long_stretches_are_cut_and_read_across(manifest_of, tmp_path):
    wave = np.random.default_rng(0).normal(0, 0.1, 150 * 1000)
    soundfile.write(tmp_path / "long.flac", wave, 1000, subtype="PCM_16")
    made = manifest_of(tmp_path / "m", tmp_path, [("long.flac", 0.0, 150.0, 1000)])
    assert shard_writing.write(made, tmp_path / "out", 10**9).stretches == 3
    packed = manifests.read(tmp_path / "out")
    for start, seconds in [(0.0, None), (59.0, 2.0), (59.999, 0.001), (60.0, 1.0), (30.0, 100.0), (149.0, 7.0)]:
        assert_same(made, packed, "long.flac", start, seconds)


def test_a_changed_byte_is_noticed(loose, packed, tmp_path):
    place = copied(packed, tmp_path)
    row = next(row for row in pq.read_table(f"{place}/index.parquet").to_pylist() if row["uri"] == "pcm16.wav")
    with open(f"{place}/shard-{row['shard']:05d}.parquet", "r+b") as file:
        file.seek(row["offset"] + row["length"] // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(AudioError, match=r"pcm16.wav: damaged in .*shard-0000\d.parquet"):
        shards.recorded(place, "pcm16.wav", 0.0, 0.1)
    assert len(shards.recorded(place, "float.wav", 0.0, 0.1)[0]) == 1600


@pytest.mark.parametrize("spoil", ["missing", "shorter", "index"])
def test_shards_that_are_not_whole_are_refused(packed, tmp_path, spoil):
    place = copied(packed, tmp_path)
    shard = tmp_path / "shards" / "shard-00001.parquet"
    if spoil == "missing":
        shard.unlink()
    elif spoil == "shorter":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        (tmp_path / "shards" / "index.parquet").write_bytes(b"PAR1")
    said = {"missing": r"00001.parquet is missing", "shorter": r"instead of", "index": "damaged index"}[spoil]
    with pytest.raises(ShardError, match=said):
        shards.recorded(place, "pcm16.wav")


def test_threads_and_few_open_files(loose, packed, monkeypatch):
    rows = [row for row in loose.utterances.to_pylist() if row["uri"].endswith(("flac", "wav"))]
    monkeypatch.setattr(shards, "_opened", shards.lru_cache(maxsize=1)(shards._opened.__wrapped__))

    def check(number):
        row = rows[number % len(rows)]
        assert_same(loose, packed, row["uri"], row["start"], row["seconds"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check, range(2 * len(rows))))
    assert_same(loose, pickle.loads(pickle.dumps(packed)), "whole.flac", 0.0, None)


def test_training_sees_the_same_batches(tiny, tiny_experiment, tmp_path):
    made = shard_writing.write(manifests.read(tiny), tmp_path / "packed", 300_000)
    assert made.shards > 2 and not made.problems
    experiment = tiny_experiment({"train.batch": 6})

    def epoch(place):
        manifest = manifests.read(place)
        train = manifest.split("train")
        crops = Crops(experiment, manifest, train, sorted(set(train["speaker"].to_pylist())), None)
        order = batches.WorkerBatches(len(crops), 6, seed=1, epoch=0)
        return list(batches.loader(crops, order, crops.collate, 0, pin=False))

    for one, other in zip(epoch(tiny), epoch(tmp_path / "packed"), strict=True):
        assert one.keys() == other.keys() and bool(one["readable"].all())
        for name in one:
            np.testing.assert_array_equal(one[name].numpy(), other[name].numpy())


def test_avspeech_from_shards_is_avspeech(shared_data, manifest_of, tmp_path):
    root, rows = shared_data / "avspeech-mini", []
    for file in sorted((root / "audio").glob("*.flac"))[:150]:
        uri, half = f"audio/{file.name}", audio.probe(file).seconds / 2
        rows += [(uri, 0.0, 2 * half, 16000), (uri, 0.0, half, 16000), (uri, half, half, 16000)]
    loose = manifest_of(tmp_path / "m", root, rows)
    assert shard_writing.write(loose, tmp_path / "out", 5_000_000).stretches == 150  # a half lies in its whole
    packed = manifests.read(tmp_path / "out")
    rng = np.random.default_rng(0)
    for row in loose.utterances.to_pylist():
        offset = rng.random() * max(0, row["seconds"] - 2)
        assert_same(loose, packed, row["uri"], row["start"] + offset, min(2.0, row["seconds"]))
