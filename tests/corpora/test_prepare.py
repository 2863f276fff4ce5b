"""What every corpus goes through: bad input is listed, good input measured, the result reproducible."""

import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from vgsr import corpora
from vgsr.cli import app
from vgsr.corpora import CORPORA, CorpusError, prepare, registry
from vgsr.corpora.registry import Layout, Utterance
from vgsr.data import audio, dnsmos, manifest
from vgsr.data.clipping import headroom
from vgsr.data.manifest import ManifestError
from vgsr.data.snr import wada_snr
from vgsr.teachers import weights


def reasons(report):
    return {problem.uri: problem.reason for problem in report.problems}


def test_counts_and_trials(tree, tmp_path):
    report = prepare("folder", tree, tmp_path / "out")
    assert {(c.split, c.speakers, c.utterances, c.faces) for c in report.counts} == {
        ("train", 6, 24, 12),
        ("validation", 2, 8, 4),
        ("test", 2, 8, 4),
    }
    assert report.counts[0].hours == pytest.approx(24 * 1.5 / 3600)
    assert set(report.trials) == {"validation", "test"} and report.trials["test"][0] == 8
    assert report.bank is None and report.problems == () and not report.manifest.synthetic
    split_of = dict(zip(*(report.manifest.utterances[c].to_pylist() for c in ("utterance_id", "split")), strict=True))
    for name, table in report.manifest.trials.items():
        assert {split_of[i] for side in ("enrol", "test") for i in table[side].to_pylist()} == {name}


def test_bad_files_are_listed_with_the_reason_and_skipped(tree, tmp_path, record, damage):
    spot = tree / "s0" / "a"
    (spot / "empty.wav").write_bytes(b"")
    (spot / "text.wav").write_text("this is no audio")
    soundfile.write(spot / "zero.wav", np.zeros(0), 16000)
    soundfile.write(spot / "silent.wav", np.zeros(16000), 16000)
    record(spot / "short.wav", seconds=0.4)
    damage(spot / "damaged.flac")
    (spot / "notes.txt").write_text("hello")
    (spot / ".hidden.wav").write_text("")
    (spot / "empty.png").write_bytes(b"")
    (tree / "readme.txt").write_text("hello")
    (tree / "lonely").mkdir()
    (tree / "lonely" / "face.jpg").write_bytes(b"a picture")
    report = prepare("folder", tree, tmp_path / "out")
    found = reasons(report)
    expected = {
        "s0/a/empty.wav": "empty file",
        "s0/a/text.wav": "unreadable",
        "s0/a/zero.wav": "no samples",
        "s0/a/silent.wav": "digital silence",
        "s0/a/short.wav": "too short (0.40 s",
        "s0/a/damaged.flac": "",
        "s0/a/notes.txt": "neither audio nor a picture",
        "s0/a/empty.png": "empty file",
        "lonely/face.jpg": "no recording",
        "readme.txt": "no speaker's folder",
    }
    assert set(found) == set(expected)
    assert all(part in found[uri] for uri, part in expected.items())
    assert len(report.manifest.utterances) == 40
    assert manifest.problems(report.manifest)["uri"].to_pylist() == sorted(expected)


def test_a_speaker_without_usable_audio_is_in_no_split(tree, tmp_path):
    for path in (tree / "s3").rglob("*.flac"):
        path.write_bytes(b"")
    report = prepare("folder", tree, tmp_path / "out")
    assert "s3" not in report.manifest.utterances["speaker"].to_pylist()
    assert "s3" not in report.manifest.faces["speaker"].to_pylist()
    assert sum(count.speakers for count in report.counts) == 9


def test_signals_length_and_rate_are_measured(tree, tmp_path, record):
    record(tree / "s1" / "a" / "wide.wav", seconds=2.0, rate=48000, channels=2)
    report = prepare("folder", tree, tmp_path / "out")
    rows = {row["utterance_id"]: row for row in report.manifest.utterances.to_pylist()}
    assert rows["s1/a/wide.wav"]["seconds"] == pytest.approx(2.0)
    assert rows["s1/a/wide.wav"]["sample_rate"] == 48000
    for name, row in rows.items():
        assert row["speech_snr"] == pytest.approx(wada_snr(audio.read(tree / name)), abs=1e-3)
        assert row["speech_clipping"] == pytest.approx(headroom(audio.read(tree / name)), abs=1e-3)
        assert row["speech_dnsmos"] is None


def test_dnsmos_is_measured_where_it_is_asked_for(tree, tmp_path):
    try:
        network = dnsmos.load(weights.locate(weights.DNSMOS))
    except weights.WeightError as error:
        pytest.skip(f"real weights cannot be had here: {error}")
    kept = [tree / speaker / "a" / "0.flac" for speaker in ("s0", "s1", "s2")]
    for path in tree.rglob("*.flac"):
        if path not in kept:
            path.unlink()
    report = prepare("folder", tree, tmp_path / "out", validation=0, test=0, dnsmos=True)
    rows = report.manifest.utterances.to_pylist()
    assert len(rows) == 3
    for row in rows:
        rating = dnsmos.overall(network, audio.read(tree / row["uri"]))
        assert row["speech_dnsmos"] == pytest.approx(rating, abs=1e-3)


def test_same_again_and_in_any_order_of_the_file_system(tree, tmp_path, monkeypatch):
    first = prepare("folder", tree, tmp_path / "one").manifest.digest
    assert prepare("folder", tree, tmp_path / "two").manifest.digest == first
    listing = Path.iterdir

    def shuffled(path):
        names = list(listing(path))
        random.Random(7).shuffle(names)
        return iter(names)

    monkeypatch.setattr(Path, "iterdir", shuffled)
    assert prepare("folder", tree, tmp_path / "three").manifest.digest == first
    assert prepare("folder", tree, tmp_path / "four", seed=1).manifest.digest != first


def test_a_speaker_both_in_training_and_in_trials_is_refused(tree, tmp_path, monkeypatch):
    def leaking(root: Path) -> Layout:
        layout = CORPORA["folder"].reader(root)

        def lists(utterances, seed):
            train = [u for u in utterances if u.split == "train"]
            mates = [u for u in train if u.speaker == train[0].speaker]
            return {"leak": [(1, mates[0].utterance_id, mates[1].utterance_id)]}

        return replace(layout, lists=lists)

    monkeypatch.setitem(CORPORA, "leaking", replace(CORPORA["folder"], name="leaking", reader=leaking))
    with pytest.raises(ManifestError, match="also in training"):
        prepare("leaking", tree, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_one_file_twice_under_an_id_is_listed(tree, tmp_path, monkeypatch):
    def doubled(root: Path) -> Layout:
        layout = CORPORA["folder"].reader(root)
        return replace(layout, utterances=[*layout.utterances, Utterance("s0/a/0.flac", "s0", "b", "s0/b/0.flac")])

    monkeypatch.setitem(CORPORA, "doubled", replace(CORPORA["folder"], name="doubled", reader=doubled))
    report = prepare("doubled", tree, tmp_path / "out")
    assert len(report.manifest.utterances) == 40
    assert "second recording of utterance s0/a/0.flac" in reasons(report)["s0/b/0.flac"]


def test_names_options_and_roots_are_checked_first(tree, tmp_path):
    with pytest.raises(CorpusError, match="did you mean 'ravdess'"):
        prepare("ravdes", tree, tmp_path / "out")
    with pytest.raises(CorpusError, match="no option 'speaker'; did you mean 'speakers'"):
        prepare("synthetic", None, tmp_path / "out", speaker=3)
    with pytest.raises(CorpusError, match="no option 'speakers'"):
        prepare("folder", tree, tmp_path / "out", speakers=3)
    with pytest.raises(CorpusError, match="give no root"):
        prepare("synthetic", tree, tmp_path / "out")
    with pytest.raises(CorpusError, match="needs the folder"):
        prepare("folder", None, tmp_path / "out")
    with pytest.raises(CorpusError, match="no such folder"):
        prepare("folder", tree / "nowhere", tmp_path / "out")
    with pytest.raises(CorpusError, match="inside the corpus"):
        prepare("folder", tree, tree / "manifest")
    with pytest.raises(CorpusError, match="share"):
        prepare("synthetic", None, tmp_path / "out", test=1.5)
    assert not (tmp_path / "out").exists()


def test_every_reader_is_registered():
    assert set(CORPORA) == {
        "avspeech",
        "cnceleb",
        "cremad",
        "folder",
        "kaldi",
        "librispeech",
        "ravdess",
        "synthetic",
        "voxceleb1",
        "voxceleb2",
    }
    assert [name for name, corpus in CORPORA.items() if not corpus.needs_root] == ["synthetic"]
    assert {"speakers", "sessions", "utterances"} <= set(registry.find("synthetic").options)
    assert all(part in dir(corpora) for part in corpora.__all__)
    for path in Path(corpora.__file__).parent.glob("*.py"):
        if "\n@corpus(" in path.read_text():
            assert path.stem in CORPORA


def test_the_help_names_every_corpus():
    said = CliRunner().invoke(app, ["prepare", "--help"]).output
    assert all(name in said for name in CORPORA)


def test_files_are_found_from_any_folder(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare("folder", "tree", "out")
    monkeypatch.chdir(os.sep)
    made = manifest.read(tmp_path / "out")
    assert all(Path(made.root, uri).is_file() for uri in made.utterances["uri"].to_pylist())
    assert Counter(made.utterances["session"].to_pylist())["s0/a"] == 2


def test_unmeasured_is_the_same_but_for_the_signals(tree, tmp_path, damage):
    measured = prepare("folder", tree, tmp_path / "one").manifest
    report = prepare("folder", tree, tmp_path / "two", measure=False)
    signals = ["speech_snr", "speech_clipping", "speech_dnsmos"]
    assert report.manifest.utterances.drop_columns(signals) == measured.utterances.drop_columns(signals)
    assert all(report.manifest.utterances[name].null_count == 40 for name in signals)
    assert report.manifest.trials == measured.trials
    damage(tree / "s0" / "a" / "damaged.flac")
    assert len(prepare("folder", tree, tmp_path / "two", measure=False).manifest.utterances) == 41
    with pytest.raises(CorpusError, match="leave out one of --dnsmos"):
        prepare("folder", tree, tmp_path / "two", measure=False, dnsmos=True)


def test_names_that_no_table_can_hold_are_listed_and_their_neighbours_kept(tree, tmp_path):
    spot = os.fsencode(tree / "s0" / "a")
    os.rename(os.path.join(spot, b"0.flac"), os.path.join(spot, b"caf\xe9.flac"))
    os.rename(os.path.join(spot, b"face.jpg"), os.path.join(spot, b"caf\xe9.jpg"))
    os.rename(tree / "s1", os.path.join(os.fsencode(tree), b"s\xff"))
    (tree / "s2" / "a" / "0.flac").rename(tree / "s2" / "a" / "0|1.flac")
    report = prepare("folder", tree, tmp_path / "out")
    found = reasons(report)
    assert found["s0/a/caf\\xe9.flac"] == found["s0/a/caf\\xe9.jpg"] == "its name is not UTF-8; rename it"
    assert "rename it" in found["s2/a/0|1.flac"] and sum("s\\xff" in name for name in found) == 6
    assert len(found) == 9 and len(report.manifest.utterances) == 34 and len(report.manifest.faces) == 17
