"""Counts and lists that authors publish: compared, insisted on, and never shortened."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vgsr.cli import app
from vgsr.corpora import CORPORA, CorpusError, prepare
from vgsr.corpora.registry import Layout, Published
from vgsr.data import recordings


def registered(monkeypatch, **changes):
    """The corpus `changed`: the folder reader, but for some fields of its layout, functions of it."""

    def reader(root: Path) -> Layout:
        layout = CORPORA["folder"].reader(root)
        return replace(layout, **{name: change(layout) for name, change in changes.items()})

    monkeypatch.setitem(CORPORA, "changed", replace(CORPORA["folder"], name="changed", reader=reader))


def test_an_incomplete_list_is_left_out_with_its_enrolments(tree, tmp_path, monkeypatch):
    def lists(utterances, seed):
        tests = [u.utterance_id for u in utterances if u.split == "test"]
        whole = [(1, "model", tests[1]), (1, tests[1], tests[0])]
        return {"whole": whole, "lost": [*whole, (0, tests[0], "nobody"), (0, "nobody", "else")], "none": []}

    def enrolments(utterances):
        tests = [u.utterance_id for u in utterances if u.split == "test"]
        return {name: [("model", tests[0]), ("model", tests[1])] for name in ("whole", "lost")}

    registered(monkeypatch, lists=lambda _: lists, enrolments=lambda _: enrolments)
    report = prepare("changed", tree, tmp_path / "out", validation=0)
    assert report.trials == {"whole": (2, 0)} and set(report.manifest.enrolled("whole")) == {"model"}
    assert report.manifest.enrolments.keys() == {"whole"}
    said = {p.uri: p.reason for p in report.problems}["trial list lost"]
    assert said.startswith("2 of its 4 trials name one of 2 utterances that cannot be used") and "left out" in said


def test_published_counts_are_compared_and_insisted_on(tree, tmp_path, monkeypatch, damage):
    damage(tree / "s0" / "a" / "0.flac")

    def published(count):
        return [
            Published("utterances", count, lambda utterances, trials: len(utterances)),
            Published("test trials", 24, lambda utterances, trials: len(trials["test"])),
        ]

    registered(monkeypatch, published=lambda _: published(40))
    assert prepare("folder", tree, tmp_path / "out").published == ()
    report = prepare("changed", tree, tmp_path / "out")
    assert [(c.what, c.published, c.found, c.difference) for c in report.published] == [
        ("utterances", 40, 39, -1),
        ("test trials", 24, 24, 0),
    ]
    # The header of the damaged one can be read: only decoding it tells, and then nothing is written either.
    with pytest.raises(CorpusError, match=r"utterances: 40 are published, 39 were found \(-1\)\n1 inputs") as error:
        prepare("changed", tree, tmp_path / "strict", strict=True)
    assert "test trials" not in str(error.value) and "s0/a/0.flac" in str(error.value)
    assert not (tmp_path / "strict").exists()
    assert prepare("changed", tree, tmp_path / "strict", strict=True, measure=False).published[0].difference == 0
    run = CliRunner().invoke(app, ["prepare", "changed", str(tree), str(tmp_path / "cli"), "--unmeasured"])
    assert run.exit_code == 0 and "against what is published" in run.output and "24" in run.output
    registered(monkeypatch, published=lambda _: published(41))
    run = CliRunner().invoke(app, ["prepare", "changed", str(tree), str(tmp_path / "no"), "--unmeasured", "--strict"])
    assert isinstance(run.exception, CorpusError) and "41 are published" in str(run.exception)


def test_strict_fails_before_the_hours_of_measuring(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "loose", lambda *_: pytest.fail("it decoded"))
    registered(
        monkeypatch, published=lambda _: [Published("utterances", 41, lambda utterances, trials: len(utterances))]
    )
    with pytest.raises(CorpusError, match="41 are published, 40 were found"):
        prepare("changed", tree, tmp_path / "out", strict=True)
