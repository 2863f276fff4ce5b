"""Making shards: stopped anywhere it goes on, half of it is never taken for all, and what cannot be read is listed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from vgsr import storage
from vgsr.data import manifest as manifests
from vgsr.data import recordings, shard_rows, shard_writing
from vgsr.data.audio import AudioError
from vgsr.data.manifest import ManifestError, Problem
from vgsr.data.shard_index import ShardError

FILES, SIZE = 24, 20_000  # two recordings a shard

KILLED = """
import os, signal, sys
from vgsr.data import manifest, shard_rows, shard_writing
os.sched_getaffinity = lambda process: {0}
left, rows = 13, shard_rows.rows
def killed(*asked):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return rows(*asked)
shard_rows.rows = killed
shard_writing.write(manifest.read(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
"""


@pytest.fixture
def made(manifest_of, tmp_path):
    """A manifest of short WAV files."""
    (tmp_path / "corpus").mkdir()
    rng = np.random.default_rng(0)
    for number in range(FILES):
        soundfile.write(tmp_path / "corpus" / f"{number:02}.wav", rng.normal(0, 0.1, 8000), 16000)
    rows = [(f"{number:02}.wav", 0.0, 0.5, 16000) for number in range(FILES)]
    return manifest_of(tmp_path / "m", tmp_path / "corpus", rows)


@pytest.fixture(params=["disk", "s3"])
def out(request, tmp_path):
    return str(tmp_path / "out") if request.param == "disk" else f"{request.getfixturevalue('s3').place}/a/out"


def contents(out):
    return {name: storage.read_bytes(storage.join(out, name)) for name in storage.listing(out)}


def assert_same(made, out):
    packed = manifests.read(out)
    assert packed.shards == storage.join(out, "shards") and packed.digest == made.digest
    for uri in made.utterances["uri"].to_pylist():
        np.testing.assert_array_equal(recordings.read(packed, uri), recordings.read(made, uri))


def failing(monkeypatch, after, error=RuntimeError):
    """Let recordings be read `after` times, then fail."""
    left, rows = [after], shard_rows.rows

    def fail(*asked):
        left[0] -= 1
        if left[0] < 0:
            raise error("stopped")
        return rows(*asked)

    monkeypatch.setattr(shard_rows, "rows", fail)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)


def test_a_killed_run_goes_on(made, out, tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, made.place, out, str(SIZE)], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = contents(out)
    shards = {name: content for name, content in left.items() if "/shard-" in name and "/parts/" not in name}
    assert 0 < len(shards) < FILES // 2 and "manifest.json" not in left and "shards/index.parquet" not in left
    with pytest.raises(ManifestError, match="not a manifest"):
        manifests.read(out)
    again = shard_writing.write(made, out, SIZE)
    assert again.shards == FILES // 2 and 0 < again.kept <= len(shards) and not again.removed
    assert_same(made, out)
    fresh = str(tmp_path / "fresh")
    shard_writing.write(made, fresh, SIZE)
    assert contents(out) == contents(fresh)
    assert not list(tmp_path.rglob("*writing-*"))


def test_what_is_whole_is_left_alone(made, out):
    first = shard_writing.write(made, out, SIZE)
    before = storage.listing(out)
    time.sleep(0.01)
    again = shard_writing.write(made, out, 10 * SIZE)
    assert storage.listing(out) == before
    assert (first.shards, first.kept, again.shards, again.kept) == (FILES // 2, 0, FILES // 2, FILES // 2)
    assert first.stretches == again.stretches == FILES and first.size == again.size


def test_a_shard_that_is_gone_is_made_again(made, out):
    shard_writing.write(made, out, SIZE)
    before = contents(out)
    storage.delete(storage.join(out, "shards", "shard-00003.parquet"))
    again = shard_writing.write(made, out, SIZE)
    assert again.kept == again.shards - 1 and contents(out) == before


def test_a_run_of_another_size_or_manifest_begins_anew(made, manifest_of, monkeypatch, tmp_path):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        failing(patch, after=9)
        with pytest.raises(RuntimeError, match="stopped"):
            shard_writing.write(made, out, SIZE)
    assert not list(out.rglob("*writing-*"))
    half = len(list((out / "shards").glob("shard-*")))
    again = shard_writing.write(made, out, 10 * SIZE)
    assert again.kept == 0 and again.removed == half > 0 and again.shards < FILES // 2
    assert len(list((out / "shards").glob("shard-*"))) == again.shards
    assert_same(made, out)
    other = manifest_of(tmp_path / "other", made.location, [("01.wav", 0.0, 0.5, 16000)])
    with pytest.raises(ShardError, match=f"{out} has shards of another manifest .digest {made.digest[:12]}"):
        shard_writing.write(other, out, SIZE)


def test_a_failure_stops_the_other_shards(made, monkeypatch, tmp_path):
    failing(monkeypatch, after=5, error=storage.StorageError)
    done = []
    with pytest.raises(storage.StorageError):
        shard_writing.write(made, tmp_path / "out", SIZE, lambda now, of: done.append((now, of)))
    assert done == [(number, FILES) for number in range(1, len(done) + 1)] and len(done) == 5
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_what_cannot_be_read_is_listed_and_left_out(made, tmp_path):
    corpus = Path(made.location)
    (corpus / "03.wav").unlink()
    (corpus / "07.wav").write_bytes(b"")
    (corpus / "08.wav").write_text("not audio")
    report = shard_writing.write(made, tmp_path / "out", SIZE)
    assert [(problem.uri, problem.reason.split(" (")[0]) for problem in report.problems] == [
        ("03.wav", "no such file"),
        ("07.wav", "empty file"),
        ("08.wav", "unreadable"),
    ]
    packed = manifests.read(tmp_path / "out")
    for name, said in [("03.wav", "no such file"), ("07.wav", "empty file"), ("08.wav", "unreadable")]:
        for manifest in (made, packed):
            with pytest.raises(AudioError, match=said):
                recordings.read(manifest, name)
    assert report.stretches == FILES - 3 and len(recordings.read(packed, "04.wav")) == 8000
    for number in range(FILES):
        (corpus / f"{number:02}.wav").unlink(missing_ok=True)
    with pytest.raises(ShardError, match=r"none of the recordings can be read, the first \(0\d.wav\) because: no such"):
        shard_writing.write(made, tmp_path / "none", SIZE)


def test_everything_else_of_the_manifest_goes_along(tmp_path):
    (tmp_path / "m" / "banks").mkdir(parents=True)
    (tmp_path / "m" / "banks" / "x.parquet").write_bytes(b"a bank")
    soundfile.write(tmp_path / "m" / "a.wav", np.ones(8000) / 2, 16000)
    made = manifests.write(
        tmp_path / "m",
        corpus="c",
        root=tmp_path / "m",
        synthetic=True,
        utterances=[
            {"utterance_id": f"u{n}", "speaker": "p", "session": "s", "uri": "a.wav", "split": "test"}
            | {"start": 0.0, "seconds": 0.5, "sample_rate": 16000}
            for n in range(3)
        ],
        faces=[{"face_id": "f", "speaker": "p", "session": "s", "uri": "f.png"}],
        trials={"test": [(1, "p", "u2")]},
        problems=[Problem("b.wav", "empty file")],
        enrolments={"test": [("p", "u0"), ("p", "u1")]},
    )
    shard_writing.write(made, tmp_path / "out", SIZE)
    packed = manifests.read(tmp_path / "out")
    assert (packed.digest, packed.corpus, packed.synthetic) == (made.digest, "c", True)
    assert packed.file("f.png") == made.file("f.png") == str(tmp_path / "m" / "f.png")
    assert manifests.problems(packed) == manifests.problems(made) and packed.enrolled("test") == made.enrolled("test")
    assert (tmp_path / "out" / "banks" / "x.parquet").read_bytes() == b"a bank"
    assert os.listdir(tmp_path / "out" / "shards" / "parts") == ["shard-00000.parquet"]


def test_a_manifest_takes_its_own_shards(made):
    shard_writing.write(made, made.place, SIZE)
    assert_same(made, made.place)


def test_shards_are_of_about_the_size_that_was_asked_for(manifest_of, shared_data, tmp_path):
    root = shared_data / "librispeech-mini"
    rows = []
    for file in sorted(root.rglob("*.flac")):
        info = soundfile.info(file)
        rows.append((str(file.relative_to(root)), 0.0, info.frames / info.samplerate, info.samplerate))
    shard_writing.write(manifest_of(tmp_path / "m", root, rows), tmp_path / "out", 3_000_000)
    sizes = [entry.size for name, entry in storage.listing(tmp_path / "out" / "shards").items() if name[:6] == "shard-"]
    assert len(sizes) > 3 and all(1_500_000 < size < 4_500_000 for size in sizes[:-1])
    assert pq.read_metadata(tmp_path / "out" / "shards" / "shard-00000.parquet").num_rows > 5
