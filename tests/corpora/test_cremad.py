"""CREMA-D as published: sound and Flash videos of one clip, sentences that differ in a trial, the counts."""

import itertools
import shutil

import numpy as np
import pytest

from vgsr.corpora import CorpusError, prepare
from vgsr.corpora.cremad import EMOTIONS, SENTENCES
from vgsr.teachers import frames

ACTORS = range(1001, 1013)
CLIPS = [f"{sentence}_{emotion}_XX" for sentence in SENTENCES[:3] for emotion in EMOTIONS[:2]]


def reasons(report):
    return {problem.uri: problem.reason for problem in report.problems}


@pytest.fixture
def tree(tmp_path, record, film):
    """Twelve actors with six clips of three sentences, and videos of the first two actors."""
    root = tmp_path / "cremad"
    film(tmp_path / "one.flv", [np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)] * 60, codec="flv")
    (root / "VideoFlash").mkdir(parents=True)
    for actor, clip in itertools.product(ACTORS, CLIPS):
        record(root / "AudioWAV" / f"{actor}_{clip}.wav")
        if actor < 1003:
            shutil.copy(tmp_path / "one.flv", root / "VideoFlash" / f"{actor}_{clip}.flv")
    (root / "AudioMP3").mkdir()
    (root / "AudioMP3" / "1001_DFA_ANG_XX.mp3").write_bytes(b"")
    (root / "VideoDemographics.csv").write_text('"ActorID","Age","Sex","Race","Ethnicity"\n')
    return root


def test_clips_splits_and_faces(tree, tmp_path):
    report = prepare("cremad", tree, tmp_path / "out")
    assert report.problems == ()
    assert [(count.speakers, count.utterances) for count in report.counts] == [(7, 42), (2, 12), (3, 18)]
    rows = report.manifest.utterances.to_pylist()
    assert {row["utterance_id"] for row in rows} == {f"{actor}_{clip}" for actor in ACTORS for clip in CLIPS}
    assert all(row["session"] == row["utterance_id"] and row["speaker"] == row["session"][:4] for row in rows)
    faces = report.manifest.faces.to_pylist()
    assert {face["session"] for face in faces} == {f"{actor}_{clip}" for actor in (1001, 1002) for clip in CLIPS}
    for face in faces:
        video, seconds = frames.parted(face["uri"])
        assert video == f"VideoFlash/{face['session']}.flv" and face["speaker"] == face["session"][:4]
        assert seconds == pytest.approx(1, abs=0.02)
        assert frames.frame(report.manifest.file(video), seconds).shape == (32, 48, 3)


def test_trials_are_of_different_sentences(tree, tmp_path):
    report = prepare("cremad", tree, tmp_path / "out")
    # Of one actor's six clips, 12 of the 15 pairs differ in their sentence; five nontargets each, as far as there are.
    assert report.trials.keys() == {"validation", "cremad"}
    assert [report.trials[name][0] for name in ("validation", "cremad")] == [2 * 12, 3 * 12]
    assert report.trials["cremad"][1] == 3 * 36 * 2 // 3  # every pair of two of three actors and of two sentences
    for table in report.manifest.trials.values():
        emotions = set()
        for label, enrol, test in zip(*table.to_pydict().values(), strict=True):
            assert label == (enrol[:4] == test[:4]) and enrol[5:8] != test[5:8]
            emotions.add(enrol[9:12] == test[9:12])
        assert emotions == {True, False}


def test_published_counts_are_those_of_the_corpus(tree, tmp_path):
    published = {each.what: (each.published, each.found) for each in prepare("cremad", tree, tmp_path / "o").published}
    assert published == {"actors": (91, 12), "clips with sound": (7441, 72)}
    with pytest.raises(CorpusError, match=r"actors: 91 are published, 12 were found \(-79\)"):
        prepare("cremad", tree, tmp_path / "out", strict=True)


def test_what_does_not_follow_the_corpus_is_listed(tree, tmp_path, record, film):
    for name in ("1001_DFA_ANG_X.wav", "1001_XYZ_ANG_XX.wav", "2001_DFA_ANG_XX.wav", "hello.wav"):
        record(tree / "AudioWAV" / name)
    record(tree / "AudioWAV" / "1076_MTI_SAD_XX.wav")
    (tree / "AudioWAV" / "notes.txt").write_text("hello")
    (tree / "VideoFlash" / "1001_DFA_ANG_XX.flv").write_bytes(b"FLV")
    (tree / "VideoFlash" / "1002_DFA_ANG_XX.flv").write_bytes(b"")
    (tree / "VideoFlash" / "1076_MTI_SAD_XX.flv").write_bytes(b"")
    shutil.copy(tree / "VideoFlash" / "1002_DFA_DIS_XX.flv", tree / "VideoFlash" / "1090_DFA_DIS_XX.flv")
    report = prepare("cremad", tree, tmp_path / "out")
    found = reasons(report)
    assert {uri: reason.partition(" (")[0].partition(":")[0] for uri, reason in found.items()} == {
        "AudioWAV/1001_DFA_ANG_X.wav": "bad name",
        "AudioWAV/1001_XYZ_ANG_XX.wav": "bad name",
        "AudioWAV/2001_DFA_ANG_XX.wav": "bad name",
        "AudioWAV/hello.wav": "bad name",
        "AudioWAV/1076_MTI_SAD_XX.wav": "no sound in it, as the corpus' own page says",
        "AudioWAV/notes.txt": "not one of .wav, .flac, .mp3, .ogg, .opus, .m4a, .mp4, .aac",
        "VideoFlash/1001_DFA_ANG_XX.flv": "not a video, or a damaged one",
        "VideoFlash/1002_DFA_ANG_XX.flv": "video file is empty",
        "VideoFlash/1076_MTI_SAD_XX.flv": "no sound in it, as the corpus' own page says",
        "VideoFlash/1090_DFA_DIS_XX.flv#t=1": "speaker 1090 has no recording that can be used",
    }
    assert len(report.manifest.utterances) == 72 and len(report.manifest.faces) == 10


def test_what_is_not_cremad_is_said(tmp_path, record):
    (tmp_path / "c").mkdir()
    with pytest.raises(CorpusError, match="no folder AudioWAV"):
        prepare("cremad", tmp_path / "c", tmp_path / "out")
    (tmp_path / "c" / "AudioWAV").mkdir()
    with pytest.raises(CorpusError, match="no 1001_DFA_ANG_XX"):
        prepare("cremad", tmp_path / "c", tmp_path / "out")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:c6f94b2592487c7556bd86df7df6e8f4\nsize 72862\n"
    (tmp_path / "c" / "AudioWAV" / "1001_DFA_ANG_XX.wav").write_text(pointer)
    with pytest.raises(CorpusError, match="git lfs pull"):
        prepare("cremad", tmp_path / "c", tmp_path / "out")


def test_without_videos_there_are_no_faces(tree, tmp_path):
    shutil.rmtree(tree / "VideoFlash")
    assert len(prepare("cremad", tree, tmp_path / "out").manifest.faces) == 0
