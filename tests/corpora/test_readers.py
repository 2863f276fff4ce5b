"""Each layout, built as published, against what is in it."""

import csv

import pytest

from vgsr.corpora import CorpusError, prepare
from vgsr.corpora.ravdess import what_is_wrong


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
        ("02-01-01-01-01-01-12", "video"),
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


@pytest.fixture
def clips(tmp_path, record):
    """Forty videos with one clip and four with two, of 3 s."""
    root = tmp_path / "avspeech"
    rows = []
    for video in range(44):
        for number in range(2 if video < 4 else 1):
            stem = f"v{video:02d}_{number}"
            record(root / "audio" / f"{stem}.flac", seconds=3.0)
            (root / "faces").mkdir(exist_ok=True)
            (root / "faces" / f"{stem}.jpg").write_bytes(b"a picture")
            rows.append([f"v{video:02d}", str(10.0 * number), f"audio/{stem}.flac", f"faces/{stem}.jpg"])
    write_clips(root, rows)
    return root, rows


def write_clips(root, rows, columns=("youtube_id", "start", "audio", "face")):
    with (root / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def test_avspeech(clips, tmp_path):
    root, _ = clips
    report = prepare("avspeech", root, tmp_path / "out")
    assert [count.speakers for count in report.counts] == [34, 5, 5]
    rows = {row["utterance_id"]: row for row in report.manifest.utterances.to_pylist()}
    by_split = {s: {i: r for i, r in rows.items() if r["split"] == s} for s in ("train", "validation", "test")}
    assert {row["speaker"] for row in by_split["test"].values()} >= {"v00", "v01", "v02", "v03"}
    assert all("#" not in i and r["start"] == 0 and r["seconds"] == 3 for i, r in by_split["train"].items())
    assert len(by_split["validation"]) == 10 and all("#" in i for i in by_split["validation"])
    # Nine test clips in halves, and the eight of videos with two clips whole.
    assert len(by_split["test"]) == 18 + 8
    assert (rows["v00_1#2"]["start"], rows["v00_1#2"]["seconds"], rows["v00_1#2"]["session"]) == (
        1.5,
        1.5,
        "v00_1",
    )
    assert {name: genuine for name, (genuine, _) in report.trials.items()} == {
        "validation": 5,
        "halves": 9,
        "clips": 4,
    }
    trials = {n: list(zip(*t.to_pydict().values(), strict=True)) for n, t in report.manifest.trials.items()}
    for label, enrol, test in trials["halves"]:
        assert (label == 1) == (enrol[:-2] == test[:-2]) and "#" in enrol and "#" in test
    for label, enrol, test in trials["clips"]:
        assert (label == 1) == (enrol[:3] == test[:3]) and enrol != test and "#" not in enrol + test


def test_avspeech_does_not_mind_the_order_of_its_lines(clips, tmp_path):
    root, rows = clips
    first = prepare("avspeech", root, tmp_path / "one").manifest.digest
    write_clips(root, rows[::-1])
    assert prepare("avspeech", root, tmp_path / "two").manifest.digest == first


def test_avspeech_lists_what_it_lacks(clips, tmp_path):
    root, rows = clips
    (root / rows[10][2]).unlink()
    (root / rows[11][3]).unlink()
    (root / rows[12][2]).write_bytes(b"")
    rows[13][3] = ""
    write_clips(root, [*rows, ["", "0", "audio/x.flac", ""], ["v99", "0"]])
    report = prepare("avspeech", root, tmp_path / "out")
    found = reasons(report)
    assert found[rows[10][2]] == "no such file" and found[rows[11][3]] == "no such file"
    assert found[rows[12][2]] == "empty file"
    assert "no face" in found["clips.csv:15"]
    assert "no youtube_id" in found["clips.csv:50"] and "no audio" in found["clips.csv:51"]
    # The faces of the two clips that were lost are of nobody in the corpus.
    assert len(found) == 6 + 2
    assert rows[13][0] in report.manifest.utterances["speaker"].to_pylist()


def test_avspeech_names_missing_columns(clips, tmp_path):
    root, rows = clips
    write_clips(root, rows, columns=("youtube_id", "begin", "audio", "picture"))
    with pytest.raises(CorpusError, match="no column start, face"):
        prepare("avspeech", root, tmp_path / "out")
    (root / "clips.csv").unlink()
    with pytest.raises(CorpusError, match="no such file"):
        prepare("avspeech", root, tmp_path / "out")


def test_folder_without_sessions(tmp_path, record):
    for speaker in range(6):
        for number in range(3):
            record(tmp_path / "f" / f"s{speaker}" / f"{number}.WAV")
        (tmp_path / "f" / f"s{speaker}" / "me.JPG").write_bytes(b"a picture")
    report = prepare("folder", tmp_path / "f", tmp_path / "out")
    assert set(report.manifest.utterances["session"].to_pylist()) == {f"s{i}/-" for i in range(6)}
    assert set(report.manifest.faces["session"].to_pylist()) == {f"s{i}/-" for i in range(6)}
    assert report.trials["test"][0] == 6  # three pairs within the one session of each of two speakers


def test_folder_says_when_it_is_too_small_or_empty(tmp_path, record):
    record(tmp_path / "f" / "s0" / "a" / "0.wav")
    with pytest.raises(CorpusError, match="too few speakers: 1 found, 6 needed"):
        prepare("folder", tmp_path / "f", tmp_path / "out")
    (tmp_path / "g").mkdir()
    with pytest.raises(CorpusError, match=r"no SPEAKER/SESSION"):
        prepare("folder", tmp_path / "g", tmp_path / "out")


def test_ravdess_for_real(shared_data, tmp_path):
    report = prepare("ravdess", shared_data / "ravdess", tmp_path / "out")
    assert [(c.speakers, c.utterances, c.faces) for c in report.counts] == [
        (0, 0, 0),
        (0, 0, 0),
        (24, 768, 24),
    ]
    assert report.trials == {"ravdess": (2400, 2400)} and report.problems == ()


def test_avspeech_for_real(shared_data, tmp_path):
    report = prepare("avspeech", shared_data / "avspeech-mini", tmp_path / "out")
    assert [count.speakers for count in report.counts] == [703, 100, 110]
    assert report.trials == {"validation": (100, 1000), "halves": (147, 1470), "clips": (37, 370)}
    assert report.problems == ()
