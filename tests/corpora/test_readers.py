"""Each layout, built as published, against what is in it."""

import csv
import os

import pytest

from vgsr.corpora import CorpusError, prepare


def reasons(report):
    return {problem.uri: problem.reason for problem in report.problems}


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


def test_folder_takes_every_kind_of_audio(tmp_path, record, recode):
    """Six speakers; one has the same second and a half in each of the other kinds of file."""
    root = tmp_path / "f"
    for speaker in range(6):
        record(root / f"s{speaker}" / "a" / "0.wav", rate=48000)
    kinds = ("flac", "mp3", "ogg", "opus", "m4a", "mp4", "aac")
    for kind in kinds:
        recode(root / "s0" / "a" / "0.wav", root / "s0" / "b" / f"1.{kind}")
    report = prepare("folder", root, tmp_path / "out")
    assert report.problems == ()
    rows = {row["utterance_id"]: row for row in report.manifest.utterances.to_pylist()}
    assert {f"s0/b/1.{kind}" for kind in kinds} < set(rows)
    for row in rows.values():
        assert row["seconds"] == pytest.approx(1.5, abs=0.1)


def test_folders_in_a_session_belong_to_it(tmp_path, record):
    root = tmp_path / "f"
    for speaker in range(6):
        record(root / f"s{speaker}" / "a" / "x" / "y" / "0.wav")
        (root / f"s{speaker}" / "a" / "faces").mkdir()
        (root / f"s{speaker}" / "a" / "faces" / "me.png").write_bytes(b"a picture")
    made = prepare("folder", root, tmp_path / "out").manifest
    assert made.utterances["utterance_id"].to_pylist() == [f"s{i}/a/x/y/0.wav" for i in range(6)]
    sessions = [f"s{i}/a" for i in range(6)]
    assert made.utterances["session"].to_pylist() == sessions == made.faces["session"].to_pylist()


def test_links_are_followed_but_not_in_circles(tmp_path, record):
    root, elsewhere = tmp_path / "f", tmp_path / "elsewhere"
    for speaker in range(6):
        record((elsewhere if speaker == 5 else root) / f"s{speaker}" / "a" / "0.wav")
    (root / "s5").symlink_to(elsewhere / "s5")
    (root / "s0" / "round").symlink_to(root)
    (root / "s1" / "a" / "up").symlink_to("..")
    (root / "s2" / "lost.wav").symlink_to("nowhere.wav")
    (root / "s2" / "self.wav").symlink_to("self.wav")
    report = prepare("folder", root, tmp_path / "out")
    assert report.manifest.utterances["utterance_id"].to_pylist() == [f"s{i}/a/0.wav" for i in range(6)]
    found = reasons(report)
    assert found.keys() == {"s0/round", "s1/a/up", "s2/lost.wav", "s2/self.wav"}
    assert all("a link to a folder that it lies in" in found[uri] for uri in ("s0/round", "s1/a/up"))
    assert "no such file" in found["s2/lost.wav"]


def test_avspeech_takes_a_table_that_is_not_utf8(clips, tmp_path):
    """One line with Latin-1 in it costs that line."""
    root, rows = clips
    name = os.fsdecode(b"audio/caf\xe9.flac")
    os.rename(root / rows[30][2], root / name)
    rows[30][2] = name
    with (root / "clips.csv").open("w", newline="", errors="surrogateescape") as file:
        csv.writer(file).writerows([("youtube_id", "start", "audio", "face"), *rows])
    report = prepare("avspeech", root, tmp_path / "out")
    assert reasons(report)["audio/caf\\xe9.flac"] == "its name is not UTF-8; rename it"
    assert len(set(report.manifest.utterances["speaker"].to_pylist())) == 43
    (root / "clips.csv").write_text("youtube_id,start,audio,face\n" + "x" * 200_000)
    with pytest.raises(CorpusError, match="line 1 is not CSV"):
        prepare("avspeech", root, tmp_path / "again")


def test_avspeech_for_real(shared_data, tmp_path):
    report = prepare("avspeech", shared_data / "avspeech-mini", tmp_path / "out")
    assert [count.speakers for count in report.counts] == [703, 100, 110]
    assert report.trials == {"validation": (100, 1000), "halves": (147, 1470), "clips": (37, 370)}
    assert report.problems == ()
