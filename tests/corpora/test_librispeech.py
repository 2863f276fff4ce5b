"""LibriSpeech as published, one subset of it, and flat."""

import numpy as np
import pytest
import soundfile

from vgsr.corpora import CorpusError, librispeech, prepare
from vgsr.data import manifest
from vgsr.evaluation.protocol import evaluate, of_list
from vgsr.evaluation.scoring import cosine_scores


@pytest.fixture
def tree(tmp_path, say):
    """Two subsets of four and three speakers with two chapters of two utterances each."""
    root = tmp_path / "data" / "LibriSpeech"
    for subset, speakers in (("dev-clean", range(10, 14)), ("test-other", range(20, 23))):
        for speaker in speakers:
            for chapter in (f"{speaker}1", f"{speaker}2"):
                folder = root / subset / str(speaker) / chapter
                for number in range(2):
                    say(folder / f"{speaker}-{chapter}-{number:04d}.flac")
                (folder / f"{speaker}-{chapter}.trans.txt").write_text("WORDS")
    for name in ("README.TXT", "SPEAKERS.TXT", "CHAPTERS.TXT", "BOOKS.TXT", "LICENSE.TXT"):
        (root / name).write_text("text")
    return root


def rows_of(report):
    return {row["utterance_id"]: row for row in manifest.read(report.manifest.place).utterances.to_pylist()}


def test_as_published(tree, tmp_path):
    report = prepare("librispeech", tree.parent, tmp_path / "out", validation=0.3, test=0.3)
    rows = rows_of(report)
    assert len(rows) == 28 and report.problems == () and sum(count.faces for count in report.counts) == 0
    assert rows["10-101-0001"] == rows["10-101-0001"] | {
        "speaker": "10",
        "session": "10-101",
        "uri": "LibriSpeech/dev-clean/10/101/10-101-0001.flac",
    }
    assert [(c.what, c.published, c.found) for c in report.published] == [
        ("dev-clean speakers", 40, 4),
        ("dev-clean utterances", 2_703, 16),
        ("test-other speakers", 33, 3),
        ("test-other utterances", 2_939, 12),
    ]


def test_a_subset_and_its_folder_are_the_same_utterances(tree, tmp_path):
    (tree / "test-other").rename(tmp_path / "elsewhere")
    subset = prepare("librispeech", tree / "dev-clean", tmp_path / "one", validation=0)
    whole = prepare("librispeech", tree, tmp_path / "two", validation=0)
    assert rows_of(subset).keys() == rows_of(whole).keys() and len(rows_of(subset)) == 16
    assert {c.what: c.found for c in subset.published} == {c.what: c.found for c in whole.published}
    assert prepare("librispeech", tmp_path / "elsewhere", tmp_path / "three", validation=0, test=0).published == ()


def test_flat(tree, tmp_path):
    for path in list((tree / "dev-clean").glob("*/*/*")):
        path.rename(path.parent.parent / path.name)
    for path in list((tree / "dev-clean").glob("*/*")):
        if path.is_dir():
            path.rmdir()
    report = prepare("librispeech", tree / "dev-clean", tmp_path / "out", validation=0)
    rows = rows_of(report)
    assert len(rows) == 16 and report.problems == ()
    assert (rows["10-101-0001"]["session"], rows["10-101-0001"]["uri"]) == ("10-101", "10/10-101-0001.flac")


def test_bad_files_are_listed_and_skipped(tree, tmp_path, record, damage):
    here = tree / "dev-clean" / "10" / "101"
    (here / "10-101-0002.flac").write_bytes(b"")
    soundfile.write(here / "10-101-0003.wav", np.zeros(0), 16000)
    damage(here / "10-101-0004.flac")
    record(here / "10-101-0005.flac", rate=8000)
    record(here / "10-101-0006.flac", rate=44100, channels=2)
    record(here / "11-101-0007.flac")
    record(here / "10-102-0008.flac")
    record(here / "words.flac")
    (here / "cover.jpg").write_bytes(b"a picture")
    (tree / "dev-clean" / "music").mkdir()
    with open(bytes(here) + b"/10-101-\xe9.flac", "wb") as file:
        file.write((here / "10-101-0000.flac").read_bytes())
    report = prepare("librispeech", tree, tmp_path / "out", validation=0.3, test=0.3)
    found = {problem.uri: problem.reason for problem in report.problems}
    expected = {
        "dev-clean/10/101/10-101-0002.flac": "empty file",
        "dev-clean/10/101/10-101-0003.wav": "no samples",
        "dev-clean/10/101/10-101-0004.flac": "",
        "dev-clean/10/101/11-101-0007.flac": "bad name",
        "dev-clean/10/101/10-102-0008.flac": "bad name",
        "dev-clean/10/101/words.flac": "bad name",
        "dev-clean/10/101/cover.jpg": "not audio",
        "dev-clean/music": "not the folder of a speaker",
        "dev-clean/10/101/10-101-\\xe9.flac": "its name is not UTF-8; rename it",
    }
    assert found.keys() == expected.keys() and all(part in found[uri] for uri, part in expected.items())
    rows = rows_of(report)
    assert len(rows) == 30
    assert (rows["10-101-0005"]["sample_rate"], rows["10-101-0006"]["sample_rate"]) == (8000, 44100)


def test_a_folder_without_speakers(tmp_path):
    (tmp_path / "r" / "dev-clean").mkdir(parents=True)
    with pytest.raises(CorpusError, match="no SPEAKER/CHAPTER"):
        prepare("librispeech", tmp_path / "r", tmp_path / "out")


def test_real_speech_and_a_list_scored(shared_data, tmp_path):
    report = prepare("librispeech", shared_data / "librispeech-mini", tmp_path / "out", validation=0.2, test=0.3)
    made = manifest.read(report.manifest.place)
    assert [(c.split, c.speakers, c.utterances) for c in report.counts] == [
        ("train", 5, 50),
        ("validation", 2, 20),
        ("test", 3, 30),
    ]
    assert report.problems == () and report.published == () and made.utterances["speech_snr"].null_count == 0
    ids, table = made.utterances["utterance_id"].to_pylist(), made.named_trials("test")
    vectors = np.random.default_rng(0).standard_normal((len(ids), 16))
    scores = cosine_scores(vectors, ids, table, made.enrolled("test"))
    known = dict(zip(ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))
    assert scores == pytest.approx([known[row["enrol"]] @ known[row["test"]] for row in table.to_pylist()])
    result = evaluate(scores, table["label"].to_numpy(), of_list(made, "test"))
    assert (result.targets, result.nontargets) == report.trials["test"]
    assert result.line().endswith(of_list(made, "test").line()) and "enrolment 1 utterance" in result.line()


def test_every_published_subset_is_counted():
    assert librispeech.PUBLISHED.keys() == {
        *("dev-clean", "dev-other", "test-clean", "test-other"),
        *("train-clean-100", "train-clean-360", "train-other-500"),
    }
    # OpenSLR 12 has 292,367 utterances in all, the paper 2,484 readers.
    assert [sum(counts) for counts in zip(*librispeech.PUBLISHED.values(), strict=True)] == [2_484, 292_367]
