"""CN-Celeb in its published layouts: who trains, who tests, and what is joined."""

import shutil

import numpy as np
import pytest
import soundfile

from vgsr.corpora import CorpusError, prepare
from vgsr.corpora.cnceleb_eval import AVERAGE
from vgsr.data import audio, manifest, recordings
from vgsr.data.manifest import Problem

DEV, SECOND = ["id00000", "id00001", "id00003", "id00004"], ["id10000", "id10001"]


def ready(root, out, **options):
    return prepare("cnceleb", root, out, **{"join": 3, "validation": 0.4, **options})


def rows_of(report):
    return {row["utterance_id"]: row for row in manifest.read(report.manifest.place).utterances.to_pylist()}


def reasons(report):
    return {(problem.uri, problem.reason) for problem in report.problems}


def test_who_trains_and_who_tests(cnceleb_tree, tmp_path):
    report = ready(cnceleb_tree, tmp_path / "out")
    split = {row["speaker"]: row["split"] for row in rows_of(report).values()}
    assert {speaker for speaker, name in split.items() if name == "test"} == {"id00800", "id00801", "id00802"}
    assert sorted(split.values()).count("validation") == 2 and split.keys() == {
        *DEV,
        *SECOND,
        "id00800",
        "id00801",
        "id00802",
    }
    assert report.problems == () and sum(count.faces for count in report.counts) == 0


def test_short_utterances_are_joined_but_those_of_the_evaluation(cnceleb_tree, tmp_path):
    report = ready(cnceleb_tree, tmp_path / "out")
    rows = rows_of(report)
    mine = {name: row for name, row in rows.items() if row["speaker"] == "id00003"}
    assert mine.keys() == {"id00003/singing-01-001-comb4.wav", "id00003/speech-01-001.wav"}
    joint = mine["id00003/singing-01-001-comb4.wav"]
    names = [f"CN-Celeb_flac/data/id00003/singing-{name}.flac" for name in ("01-001", "01-002", "01-003", "02-001")]
    assert joint["uri"] == recordings.joined(names) and joint["session"] == "id00003/singing-01"
    assert joint["seconds"] == pytest.approx(3.6) and joint["start"] == 0
    tests = {name for name, row in rows.items() if row["split"] == "test"}
    assert tests == {
        "test/id00800-singing-02-001.wav",
        "test/id00800-live_broadcast-01-001.wav",
        "test/id00801-speech-02-001.wav",
        "test/id00802-play-01-001.wav",
        "test/id00802-play-01-002.wav",
        "enroll/id00800-enroll.wav",
        "enroll/id00801-enroll.wav",
        "id00800/singing-01-001.wav",
        "id00800/vlog-01-002.wav",
        "id00801/speech-01-001.wav",
    }
    # What is measured, and read for training, are the parts one behind the other.
    parts = np.concatenate([audio.read(cnceleb_tree / name) for name in names])
    np.testing.assert_array_equal(recordings.read(report.manifest, joint["uri"]), parts)
    assert joint["speech_snr"] is not None


def test_nothing_is_joined_at_0(cnceleb_tree, tmp_path):
    rows = rows_of(ready(cnceleb_tree, tmp_path / "out", join=0))
    assert not any(recordings.JOINT in row["uri"] for row in rows.values())
    assert sum(row["speaker"] == "id10000" for row in rows.values()) == 5


def test_bad_files_are_listed_and_skipped(cnceleb_tree, tmp_path, record, damage):
    spot = cnceleb_tree / "CN-Celeb_flac" / "data" / "id00000"
    (spot / "movie-01-001.flac").write_bytes(b"")
    soundfile.write(spot / "movie-01-002.wav", np.zeros(0), 16000)
    (spot / "movie-01-003.flac").write_text("no audio")
    record(spot / "movie-01-004.flac", 3.0, rate=8000)
    record(spot / "movie-02-001.flac", 3.0, rate=44100, channels=2)
    damage(spot / "movie-03-001.flac")
    record(spot / "movie-04-001.flac", 0.05)
    record(spot / "singing_01.flac")
    (spot / "notes.txt").write_text("hello")
    record(cnceleb_tree / "CN-Celeb_flac" / "data" / "id00002" / "play-01-001.flac")
    (cnceleb_tree / "CN-Celeb_flac" / "data" / "README").write_text("hello")
    record(cnceleb_tree / "other.flac")
    strange = bytes(spot) + b"/caf\xe9.flac"
    shutil.copy(bytes(spot / "singing-01-001.flac"), strange)
    with (cnceleb_tree / "CN-Celeb_flac" / "dev" / "dev.lst").open("a") as file:
        file.write("id00009\n")
    report = ready(cnceleb_tree, tmp_path / "out")
    here = "CN-Celeb_flac/data/id00000"
    expected = {
        (f"{here}/movie-01-001.flac", "empty file"),
        (f"{here}/movie-01-002.wav", "no samples"),
        (f"{here}/movie-01-003.flac", "unreadable"),
        (f"{here}/movie-03-001.flac", ""),
        (f"{here}/movie-04-001.flac", "too short (0.05 s"),
        (f"{here}/singing_01.flac", "bad name"),
        (f"{here}/caf\\xe9.flac", "its name is not UTF-8; rename it"),
        (f"{here}/notes.txt", "not audio"),
        ("CN-Celeb_flac/data/id00002", "dev/dev.lst does not name"),
        ("CN-Celeb_flac/data/README", "not the folder of a speaker"),
        ("CN-Celeb_flac/dev/dev.lst", "speaker id00009 has no folder"),
    }
    for uri, part in expected:
        assert any(uri == problem.uri and part in problem.reason for problem in report.problems), (uri, report.problems)
    assert len(report.problems) == len(expected)
    assert report.trials[AVERAGE] == (3, 7)
    rows = rows_of(report)
    assert rows["id00000/movie-01-004.wav"]["sample_rate"] == 8000
    # It was joined with what cannot be decoded, and is left.
    left = rows["id00000/movie-02-001-comb2.wav"]
    assert (left["uri"], left["sample_rate"]) == (f"{here}/movie-02-001.flac", 44100)


def test_a_damaged_part_leaves_the_rest_of_its_recording(cnceleb_tree, tmp_path, damage):
    spot = cnceleb_tree / "CN-Celeb_flac" / "data" / "id00000"
    damage(spot / "singing-01-002.flac")
    report = ready(cnceleb_tree, tmp_path / "out")
    rows = [row for row in rows_of(report).values() if row["uri"].startswith(f"CN-Celeb_flac/data/{spot.name}/singing")]
    names = ["singing-01-001", "singing-01-003", "singing-02-001"]
    assert [row["uri"] for row in rows] == ["|".join(f"CN-Celeb_flac/data/id00000/{name}.flac" for name in names)]
    assert rows[0]["seconds"] == pytest.approx(1.0 + 1.2 + 0.3)
    assert [problem.uri for problem in report.problems] == ["CN-Celeb_flac/data/id00000/singing-01-002.flac"]


def test_either_release_alone_and_as_the_root_itself(cnceleb_tree, tmp_path):
    one = ready(cnceleb_tree / "CN-Celeb_flac", tmp_path / "one", validation=0.5)
    assert {row["speaker"] for row in rows_of(one).values()} == {*DEV, "id00800", "id00801", "id00802"}
    assert one.trials[AVERAGE] == (3, 7)
    shutil.rmtree(cnceleb_tree / "CN-Celeb_flac")
    for root, name in ((cnceleb_tree, "two"), (cnceleb_tree / "CN-Celeb2_flac", "itself")):
        two = ready(root, tmp_path / name, validation=0)
        assert {row["speaker"] for row in rows_of(two).values()} == set(SECOND) and two.trials == {}


def test_a_spk2utt_names_the_utterances_that_are_used(cnceleb_tree, tmp_path):
    folder = cnceleb_tree / "CN-Celeb_flac" / "dev"
    (folder / "dev.lst").unlink()
    (folder / "spk2utt").write_text(
        "id00000 id00000/singing-01-001.wav id00000/speech-01-001.wav\nid00001 id00001-singing-01-002\nid00003\n"
    )
    report = ready(cnceleb_tree, tmp_path / "out", join=0)
    mine = {name for name in rows_of(report) if name.startswith("id0000")}
    assert {name for name in mine if not name.startswith("id00003")} == {
        "id00000/singing-01-001.wav",
        "id00000/speech-01-001.wav",
        "id00001/singing-01-002.wav",
    }
    assert len(mine) == 3 + 5
    assert (
        Problem("CN-Celeb_flac/data/id00004", "CN-Celeb_flac/dev/spk2utt does not name this speaker; not read")
        in report.problems
    )


def test_a_release_twice_is_read_once(cnceleb_tree, tmp_path):
    shutil.copytree(cnceleb_tree / "CN-Celeb2_flac", cnceleb_tree / "CN-Celeb2_wav")
    report = ready(cnceleb_tree, tmp_path / "out")
    assert reasons(report) == {("CN-Celeb2_wav", "CN-Celeb2 once more; CN-Celeb2_flac is read")}


def test_a_folder_without_either(tmp_path):
    (tmp_path / "r" / "CN-Celeb_flac").mkdir(parents=True)
    with pytest.raises(CorpusError, match="neither CN-Celeb_flac/data nor"):
        prepare("cnceleb", tmp_path / "r", tmp_path / "out")


def test_the_wav_release_without_lists_of_who_trains(cnceleb_tree, tmp_path):
    """Speakers below id00800 train; ids are those of the FLAC release."""
    flac = rows_of(ready(cnceleb_tree, tmp_path / "flac"))
    for path in list(cnceleb_tree.rglob("*.flac")):
        soundfile.write(path.with_suffix(".wav"), *soundfile.read(path))
        path.unlink()
    (cnceleb_tree / "CN-Celeb_flac" / "dev" / "dev.lst").unlink()
    (cnceleb_tree / "CN-Celeb2_flac" / "spk.lst").unlink()
    (cnceleb_tree / "CN-Celeb_flac").rename(cnceleb_tree / "CN-Celeb")
    (cnceleb_tree / "CN-Celeb2_flac").rename(cnceleb_tree / "CN-Celeb2_wav")
    report = ready(cnceleb_tree, tmp_path / "wav")
    wav = rows_of(report)
    assert wav.keys() == flac.keys() and report.trials[AVERAGE] == (3, 7)
    assert wav["test/id00802-play-01-002.wav"]["uri"] == "CN-Celeb/eval/test/id00802-play-01-002.wav"
    assert {name: row["split"] for name, row in wav.items()} == {name: row["split"] for name, row in flac.items()}
