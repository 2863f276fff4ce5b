"""Kaldi data directories: every table, and every way in which a line may not fit."""

import numpy as np
import pytest
import soundfile

from vgsr.corpora import CorpusError, prepare
from vgsr.data import audio, manifest, recordings
from vgsr.evaluation.protocol import evaluate, of_list
from vgsr.evaluation.scoring import cosine_scores


@pytest.fixture
def tree(tmp_path, say):
    """Ten speakers with two recordings of 3 s; those of the last speaker are named by absolute paths."""
    root = tmp_path / "data"
    scp, utt2spk = [], []
    for speaker in range(10):
        for number in range(2):
            name = f"s{speaker}-r{number}"
            path = (tmp_path / "far away" if speaker == 9 else root / "wav") / f"{name}.wav"
            say(path, 3.0)
            scp.append(f"{name} {path if speaker == 9 else f'wav/{name}.wav'}")
            utt2spk.append(f"{name} s{speaker}")
    write(root, "wav.scp", scp)
    write(root, "utt2spk", utt2spk)
    return root


def write(root, name, lines):
    (root / name).write_text("".join(f"{line}\n" for line in lines))


def ready(root, out, **shares):
    return prepare("kaldi", root, out, **{"validation": 0.2, "test": 0.2, **shares})


def rows_of(report):
    return {row["utterance_id"]: row for row in manifest.read(report.manifest.place).utterances.to_pylist()}


def told(report):
    return [(problem.uri, problem.reason) for problem in report.problems]


def test_recordings_are_utterances_without_segments(tree, tmp_path):
    report = ready(tree, tmp_path / "out")
    rows = rows_of(report)
    assert len(rows) == 20 and report.problems == ()
    assert report.manifest.location == str(tmp_path)
    assert rows["s3-r1"] == rows["s3-r1"] | {
        "speaker": "s3",
        "session": "s3-r1",
        "uri": "data/wav/s3-r1.wav",
        "start": 0.0,
        "seconds": 3.0,
    }
    assert rows["s9-r0"]["uri"] == "far away/s9-r0.wav"
    np.testing.assert_array_equal(
        recordings.read(report.manifest, rows["s9-r0"]["uri"]), audio.read(tmp_path / "far away" / "s9-r0.wav")
    )


def test_segments_are_parts_of_recordings(tree, tmp_path):
    names = [f"s{speaker}" for speaker in range(10)]
    write(tree, "utt2spk", [f"{name}-r{n}-{part} {name}" for name in names for n in range(2) for part in "ab"])
    write(
        tree,
        "segments",
        [
            f"{s}-r{n}-{part} {s}-r{n} {span}"
            for s in names
            for n in range(2)
            for part, span in (("a", "0.25 1.5"), ("b", "1.5 -1"))
        ],
    )
    report = ready(tree, tmp_path / "out")
    rows = rows_of(report)
    assert len(rows) == 40 and report.problems == ()
    a, b = rows["s2-r1-a"], rows["s2-r1-b"]
    assert (a["session"], a["uri"], a["start"], a["seconds"]) == ("s2-r1", "data/wav/s2-r1.wav", 0.25, 1.25)
    assert (b["session"], b["uri"], b["start"], b["seconds"]) == ("s2-r1", "data/wav/s2-r1.wav", 1.5, 1.5)
    whole = audio.read(tree / "wav" / "s2-r1.wav")
    np.testing.assert_array_equal(
        recordings.read(report.manifest, a["uri"], a["start"], a["seconds"]), whole[4000:24000]
    )


def test_sessions_and_speakers_of_other_tables(tree, tmp_path):
    (tree / "utt2spk").unlink()
    write(tree, "spk2utt", [f"s{speaker} s{speaker}-r0 s{speaker}-r1" for speaker in range(10)])
    write(tree, "utt2sess", [f"s{speaker}-r{n} monday" for speaker in range(9) for n in range(2)])
    rows = rows_of(ready(tree, tmp_path / "out"))
    assert len(rows) == 20 and rows["s4-r1"]["speaker"] == "s4"
    assert (rows["s4-r1"]["session"], rows["s9-r1"]["session"]) == ("monday", "s9-r1")


def test_a_command_is_never_run(tree, tmp_path):
    mark = tmp_path / "mark"
    with (tree / "wav.scp").open("a") as file:
        file.write(f"s1-r2 touch {mark}; cat wav/s1-r1.wav |\ns1-r3 touch {mark} |  \ns1-r4 wav/a|b.wav\n")
    with (tree / "utt2spk").open("a") as file:
        file.write("s1-r2 s1\ns1-r3 s1\ns1-r4 s1\n")
    report = ready(tree, tmp_path / "out")
    assert not mark.exists() and len(rows_of(report)) == 20
    found = dict(told(report))
    assert "commands are never run" in found["wav.scp:21"] and "commands are never run" in found["wav.scp:22"]
    assert "its name has | in it" in found["wav.scp:23"]


def test_lines_that_do_not_fit_are_listed_and_skipped(tree, tmp_path):
    spans = {
        "s0-r0-a s0-r0 0 1.5": "",
        "s0-r0-b s0-r0 0.5 3.4": "",
        "s0-r0-c s0-r0 0.5 3.6": "s0-r0-c ends at 3.60 s, the recording at 3.00 s",
        "s0-r0-d s0-r0 1.5 1.5": "from 1.5 to 1.5 s: not a start",
        "s0-r0-e s0-r0 2.0 1.5": "not a start and a later end",
        "s0-r0-f s0-r0 -1 1.5": "not a start",
        "s0-r0-g s0-r0 zero 1.5": "from zero to 1.5 s",
        "s0-r0-h s0-r0 0 nan": "not a start",
        "s0-r0-i s8-r9 0 1.5": "recording s8-r9 is not in wav.scp",
        "s0-r0-j s0-r0 0 1.5": "utterance s0-r0-j has no speaker",
        "s0-r0-k s0-r0 0": "3 words, not UTTERANCE RECORDING START END",
        "s0-r0-a s0-r0 1 2.5": "s0-r0-a once more; line 1 is used",
        "s0-r0-l s0-r0 0 0.2": "too short (0.20 s",
        "s0-r0-m s0-r0 3.2 -1": "too short (0.00 s",
    }
    rest = [f"s{speaker}-r{n} s{speaker}-r{n} 0 2.0" for speaker in range(1, 10) for n in range(2)]
    write(tree, "segments", [*spans, "", *rest])
    names = {line.split()[0]: "s0" for line in spans if not line.startswith("s0-r0-j")}
    names |= {line.split()[0]: line[:2] for line in rest} | {"s0-r0-z": "s0"}
    write(tree, "utt2spk", [f"{name} {speaker}" for name, speaker in names.items()])
    with (tree / "utt2spk").open("ab") as file:
        file.write(b"s0-r0-y\ns1-r0 s2\ncaf\xe9 s3\n")
    report = ready(tree, tmp_path / "out")
    rows = rows_of(report)
    assert {name for name in rows if name.startswith("s0")} == {"s0-r0-a", "s0-r0-b"} and len(rows) == 20
    assert (rows["s0-r0-a"]["seconds"], rows["s0-r0-b"]["seconds"], rows["s1-r0"]["speaker"]) == (1.5, 2.5, "s1")
    count = len(names)
    expected = [
        *(
            (f"segments:{n}" if n not in (3, 13, 14) else "data/wav/s0-r0.wav", why)
            for n, why in enumerate(spans.values(), 1)
            if why
        ),
        ("utt2spk", "utterance s0-r0-k is not in segments"),
        ("utt2spk", "utterance s0-r0-z is not in segments"),
        (f"utt2spk:{count + 1}", "1 words, not UTTERANCE SPEAKER"),
        (f"utt2spk:{count + 2}", f"s1-r0 once more; line {list(names).index('s1-r0') + 1} is used"),
        (f"utt2spk:{count + 3}", "not UTF-8"),
    ]
    for uri, why in expected:
        assert any(uri == place and why in reason for place, reason in told(report)), (uri, why, told(report))
    assert len(told(report)) == len(expected)


def test_bad_files_are_listed_and_skipped(tree, tmp_path, record, damage):
    here = tree / "wav"
    (here / "empty.wav").write_bytes(b"")
    soundfile.write(here / "zero.wav", np.zeros(0), 16000)
    soundfile.write(here / "silent.wav", np.zeros(16000), 16000)
    damage(here / "damaged.flac")
    record(here / "slow.wav", rate=8000)
    record(here / "wide.wav", rate=44100, channels=2)
    names = ["empty.wav", "zero.wav", "silent.wav", "damaged.flac", "gone.wav", "slow.wav", "wide.wav"]
    with (tree / "wav.scp").open("ab") as file:
        file.write("".join(f"{name} wav/{name}\n" for name in names).encode() + b"strange wav/caf\xe9.wav\n")
    with (tree / "utt2spk").open("a") as file:
        file.write("".join(f"{name} s1\n" for name in [*names, "strange"]))
    report = ready(tree, tmp_path / "out")
    rows = rows_of(report)
    assert len(rows) == 22 and rows["slow.wav"]["sample_rate"] == 8000 and rows["wide.wav"]["sample_rate"] == 44100
    assert [uri for uri, _ in told(report)] == [
        "data/wav/damaged.flac",
        "data/wav/empty.wav",
        "data/wav/gone.wav",
        "data/wav/silent.wav",
        "data/wav/zero.wav",
        "utt2spk",
        "wav.scp:28",
    ]


def test_trials_with_enrolments_of_several(tree, tmp_path):
    write(tree, "enroll.map", ["one s0-r0 s0-r1", "mixed s0-r0 s1-r0", "s2-r0 s2-r1"])
    write(tree, "trials", ["one s1-r0 nontarget", "one s0-r1 target", "s2-r0 s2-r1 target", "s2-r0 s1-r1 nontarget"])
    report = ready(tree, tmp_path / "out", test=None)
    made = manifest.read(report.manifest.place)
    tests = {row["speaker"] for row in rows_of(report).values() if row["split"] == "test"}
    assert (
        tests == {"s0", "s1", "s2"}
        and report.trials["trials"] == (2, 2)
        and report.trials.keys() == {"validation", "trials"}
    )
    assert made.enrolled("trials") == {"one": ["s0-r0", "s0-r1"]}
    assert told(report) == [
        ("enroll.map:2", "mixed: not utterances of one speaker; not read"),
        ("enroll.map:3", "s2-r0 is the name of an utterance too; not read"),
    ]
    ids, table = made.utterances["utterance_id"].to_pylist(), made.named_trials("trials")
    vectors = np.random.default_rng(0).standard_normal((len(ids), 8))
    known = dict(zip(ids, vectors, strict=True))
    scores = cosine_scores(vectors, ids, table, made.enrolled("trials"))
    mean, other = (known["s0-r0"] + known["s0-r1"]) / 2, known["s1-r0"]
    assert scores[0] == pytest.approx(mean @ other / np.linalg.norm(mean) / np.linalg.norm(other))
    line = evaluate(scores, table["label"].to_numpy(), of_list(made, "trials")).line()
    assert "trials kaldi/trials (4, " in line and "enrolment mean of 2 utterances" in line


def test_trials_of_what_cannot_be_used_are_no_list(tree, tmp_path):
    write(tree, "trials", ["s0-r0 s0-r1 target", "s0-r0 gone nontarget"])
    report = ready(tree, tmp_path / "out", test=None)
    assert report.trials.keys() == {"validation"}
    assert "such as gone; the list is left out" in dict(told(report))["trial list trials"]


def test_a_directory_without_its_tables(tree, tmp_path):
    (tree / "utt2spk").rename(tree / "moved")
    with pytest.raises(CorpusError, match="no utt2spk in it, nor spk2utt"):
        ready(tree, tmp_path / "out")
    write(tree, "utt2spk", ["someone else"])
    with pytest.raises(CorpusError, match=r"no utterance that can be used \(.* problems; first: wav.scp:1: "):
        ready(tree, tmp_path / "out")
    (tree / "wav.scp").unlink()
    with pytest.raises(CorpusError, match=r"no wav\.scp in it"):
        ready(tree, tmp_path / "out")
