"""RAVDESS as published: sound, films, whichever way the archives were unpacked."""

import shutil

import numpy as np
import pytest

from vgsr.corpora import CorpusError, prepare
from vgsr.corpora.ravdess import what_is_wrong
from vgsr.teachers import frames


def reasons(report):
    return {problem.uri: problem.reason for problem in report.problems}


@pytest.fixture
def actors(tmp_path, record):
    """Three actors in the published layout: WAV at 48 kHz; one has a face."""
    root = tmp_path / "ravdess"
    for actor in (1, 2, 24):
        for statement in (1, 2):
            for repetition in (1, 2):
                name = f"03-01-05-01-{statement:02d}-{repetition:02d}-{actor:02d}.wav"
                record(root / f"Actor_{actor:02d}" / name, rate=48000)
    (root / "Actor_01" / "face.png").write_bytes(b"a picture")
    return root


def test_ravdess(actors, tmp_path, record):
    folder = actors / "Actor_01"
    record(folder / "03-01-05-01-01-01-01.flac")
    (folder / "notes.txt").write_text("hello")
    for name in ("03-01-09-01-01-01-01", "03-02-01-01-01-01-01", "03-01-01-01-01-01-02", "hello"):
        record(folder / f"{name}.wav")
    report = prepare("ravdess", actors, tmp_path / "out")
    rows = report.manifest.utterances.to_pylist()
    assert len(rows) == 12 and {row["split"] for row in rows} == {"test"}
    assert all(row["session"] == row["utterance_id"] for row in rows)
    assert report.manifest.faces.to_pylist() == [
        {"face_id": "Actor_01/face.png", "speaker": "Actor_01", "session": "face", "uri": "Actor_01/face.png"}
    ]
    listed = [
        "03-01-05-01-01-01-01.wav",
        "03-01-09-01-01-01-01.wav",
        "03-02-01-01-01-01-01.wav",
        "03-01-01-01-01-01-02.wav",
        "hello.wav",
        "notes.txt",
    ]
    assert reasons(report).keys() == {f"Actor_01/{name}" for name in listed}
    # All pairs of one actor's four takes differ in statement or repetition; nontargets may not repeat either.
    assert report.trials == {"ravdess": (18, 18)}
    for label, enrol, test in zip(*report.manifest.trials["ravdess"].to_pydict().values(), strict=True):
        assert label == (enrol[-2:] == test[-2:])
        assert enrol.split("-")[4:6] != test.split("-")[4:6]


def test_ravdess_can_train(tmp_path, record):
    for actor in range(1, 11):
        for take in (1, 2):
            record(tmp_path / "r" / f"Actor_{actor:02d}" / f"03-01-01-01-01-{take:02d}-{actor:02d}.flac")
    report = prepare("ravdess", tmp_path / "r", tmp_path / "out", validation=0.2, test=0.3)
    assert [count.speakers for count in report.counts] == [5, 2, 3]
    assert set(report.trials) == {"validation", "ravdess"}


@pytest.mark.parametrize(
    ("stem", "part"),
    [
        ("03-01-01-01-01-01-12", ""),
        ("03-01-01-01-01-01", "seven"),
        ("03-01-01-01-01-01-1a", "seven"),
        ("03-01-09-01-01-01-12", "emotion 09"),
        ("03-01-01-03-01-01-12", "intensity 03"),
        ("03-01-01-01-00-01-12", "statement 00"),
        ("03-01-01-01-01-03-12", "repetition 03"),
        ("03-01-01-01-01-01-25", "actor 25"),
        ("03-01-01-01-01-01-11", "lies in folder"),
        ("02-01-01-01-01-01-12", "modality 02 is video; 03 is audio"),
        ("03-02-01-01-01-01-12", "song"),
    ],
)
def test_ravdess_names(stem, part):
    wrong = what_is_wrong(stem, "Actor_12")
    assert part in wrong and bool(wrong) == bool(part)


def test_ravdess_needs_actors(tmp_path):
    (tmp_path / "r").mkdir()
    with pytest.raises(CorpusError, match="no folder Actor_NN"):
        prepare("ravdess", tmp_path / "r", tmp_path / "out")


def takes(actor):
    return [f"01-05-01-{statement:02d}-{repetition:02d}-{actor:02d}" for statement in (1, 2) for repetition in (1, 2)]


@pytest.fixture
def filmed(actors, film):
    """The three actors filmed, each take a second long, with and without sound."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (32, 48, 3), np.uint8)] * 30
    film(actors / "one.mp4", pictures)
    for actor in (1, 2, 24):
        for take in takes(actor):
            for modality in ("01", "02"):
                shutil.copy(actors / "one.mp4", actors / f"Actor_{actor:02d}" / f"{modality}-{take}.mp4")
    (actors / "one.mp4").unlink()
    return actors


def test_a_face_is_a_frame_of_the_same_take(filmed, tmp_path):
    report = prepare("ravdess", filmed, tmp_path / "out")
    assert report.problems == ()
    faces = [face for face in report.manifest.faces.to_pylist() if face["session"] != "face"]
    rows = report.manifest.utterances.to_pylist()
    assert {(face["speaker"], face["session"]) for face in faces} == {(row["speaker"], row["session"]) for row in rows}
    for face in faces:
        video, seconds = frames.parted(face["uri"])
        assert video == f"{face['speaker']}/01{face['session'][2:]}.mp4"
        assert seconds == pytest.approx(0.5, abs=0.02) and face["face_id"] == face["uri"]
        assert frames.frame(report.manifest.file(video), seconds).shape == (32, 48, 3)


def test_how_many_frames_is_an_option(filmed, tmp_path):
    report = prepare("ravdess", filmed, tmp_path / "three", frames=3)
    uris = [face["uri"] for face in report.manifest.faces.to_pylist() if face["session"] == f"03-{takes(24)[0]}"]
    assert [frames.parted(uri)[1] for uri in uris] == pytest.approx([1 / 6, 1 / 2, 5 / 6], abs=0.02)
    assert len(prepare("ravdess", filmed, tmp_path / "none", frames=0).manifest.faces) == 1
    for wrong in (-1, "two"):
        with pytest.raises(CorpusError, match="frames="):
            prepare("ravdess", filmed, tmp_path / "wrong", frames=wrong)


def test_the_video_without_sound_serves_where_there_is_no_other(filmed, tmp_path):
    folder = filmed / "Actor_02"
    (folder / f"01-{takes(2)[0]}.mp4").unlink()
    (folder / f"01-{takes(2)[1]}.mp4").write_bytes(b"")
    (folder / f"03-{takes(2)[2]}.mp4").write_bytes(b"")
    (folder / f"01-02{takes(2)[2][2:]}.mp4").write_bytes(b"")
    report = prepare("ravdess", filmed, tmp_path / "out")
    uris = {frames.parted(face["uri"])[0] for face in report.manifest.faces.to_pylist()}
    assert f"Actor_02/02-{takes(2)[0]}.mp4" in uris
    assert reasons(report) == {
        f"Actor_02/01-{takes(2)[1]}.mp4": "video file is empty",
        f"Actor_02/03-{takes(2)[2]}.mp4": "bad name: modality 03 is audio; 01 and 02 are video",
        f"Actor_02/01-02{takes(2)[2][2:]}.mp4": "vocal channel 02 is song; only 01 (speech) is read",
    }


def test_archives_in_folders_of_their_own(filmed, tmp_path, record):
    """As `unzip -d` leaves them, song beside speech."""
    expected = prepare("ravdess", filmed, tmp_path / "flat").manifest
    root = tmp_path / "apart"
    for actor in filmed.iterdir():
        for file in actor.iterdir():
            archive = "Audio_Speech_Actors_01-24" if file.suffix == ".wav" else f"Video_Speech_Actor_{actor.name[-2:]}"
            target = root / archive / actor.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    record(root / "Audio_Song_Actors_01-24" / "Actor_01" / "03-02-01-01-01-01-01.wav")
    report = prepare("ravdess", root, tmp_path / "out")
    assert reasons(report) == {"Audio_Song_Actors_01-24": "song; only speech is read"}
    for table, keys in (("utterances", ["utterance_id", "speaker", "session"]), ("faces", ["speaker", "session"])):
        found, flat = (
            sorted(map(str, getattr(each, table).select(keys).to_pylist())) for each in (report.manifest, expected)
        )
        assert found == flat


def test_the_counts_are_compared_with_those_of_the_authors(actors, tmp_path):
    report = prepare("ravdess", actors, tmp_path / "out")
    assert {(each.what, each.published, each.found) for each in report.published} == {
        ("actors", 24, 3),
        ("speech recordings", 60 * 24, 12),
    }
    with pytest.raises(CorpusError, match="1,440 are published, 12 were found"):
        prepare("ravdess", actors, tmp_path / "strict", strict=True)


def test_ravdess_for_real(shared_data, tmp_path):
    report = prepare("ravdess", shared_data / "ravdess", tmp_path / "out")
    assert [(c.speakers, c.utterances, c.faces) for c in report.counts] == [
        (0, 0, 0),
        (0, 0, 0),
        (24, 768, 24),
    ]
    assert report.trials == {"ravdess": (2400, 2400)} and report.problems == ()
