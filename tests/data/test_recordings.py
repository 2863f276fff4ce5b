"""Recordings: single files, joined ones and those on S3 give the same samples, a part that of the whole."""

import numpy as np
import pytest
import soundfile

from vgsr.data import audio, recordings
from vgsr.data.audio import AudioError


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for name, rate, length in [("a", 16000, 16001), ("b", 16000, 8000), ("c", 44100, 30011)]:
        wave = rng.uniform(-0.5, 0.5, (length, 2 if name == "b" else 1))
        soundfile.write(tmp_path / f"{name}.flac", wave, rate, subtype="PCM_16")
    return str(tmp_path)


def test_a_joined_recording_is_its_parts_one_behind_the_other(root):
    uri = recordings.joined(["a.flac", "b.flac", "c.flac"])
    assert recordings.parts(uri) == ["a.flac", "b.flac", "c.flac"]
    whole = np.concatenate([audio.read(f"{root}/{name}.flac") for name in "abc"])
    np.testing.assert_array_equal(recordings.loose(root, uri), whole)
    info = recordings.probe_loose(root, uri)
    assert (info.frames, info.sample_rate, info.channels) == (len(whole), 16000, 1)
    rng = np.random.default_rng(1)
    for start, seconds in rng.uniform((0, 0.01), (2.1, 2), (30, 2)):
        first = round(start * 16000)
        want = whole[first : first + round(seconds * 16000)]
        np.testing.assert_array_equal(recordings.loose(root, uri, start, seconds), want)
    with pytest.raises(AudioError, match="no samples at 9"):
        recordings.loose(root, uri, 9.0)


def test_a_missing_part_is_named(root):
    for function in (recordings.loose, recordings.probe_loose):
        with pytest.raises(AudioError, match=r"gone.flac: no such file"):
            function(root, "a.flac|gone.flac")


def test_absolute_places_do_not_lie_under_the_root(root):
    assert recordings.place("/root", "x/a.flac") == "/root/x/a.flac"
    assert recordings.place("s3://bucket/corpus", "x/a.flac") == "s3://bucket/corpus/x/a.flac"
    for uri in ("s3://bucket/a.flac", f"{root}/a.flac", "../a.flac", "x/../../a.flac"):
        with pytest.raises(AudioError, match="not a path under"):
            recordings.place("/root", uri)


def test_recordings_on_s3_are_those_of_the_disk(root, s3):
    for name in "abc":
        s3.client.upload_file(f"{root}/{name}.flac", s3.name, f"corpus/x y/{name}.flac")
    there = f"{s3.place}/corpus/x y"
    for uri in ("c.flac", "a.flac|c.flac"):
        assert recordings.probe_loose(there, uri) == recordings.probe_loose(root, uri)
        want = recordings.loose(root, uri, 0.1, 0.3)
        np.testing.assert_array_equal(recordings.loose(there, uri, 0.1, 0.3), want)
    with pytest.raises(AudioError, match=r"gone.flac: no such file"):
        recordings.loose(there, "gone.flac")


def test_a_store_that_does_not_answer_is_no_fault_of_the_recording(root, faulty, s3, monkeypatch):
    from vgsr.storage import StorageError

    s3.client.upload_file(f"{root}/a.flac", s3.name, "a.flac")
    monkeypatch.setenv("VGSR_S3_TRIES", "1")
    faulty.plan(["503"] * 9)
    with pytest.raises(StorageError, match=r"a\.flac"):
        recordings.loose(s3.place, "a.flac")
