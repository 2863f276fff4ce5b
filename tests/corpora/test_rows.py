"""Rows as columns: the same sequence, the same manifest."""

from dataclasses import replace

import pytest

from vgsr.corpora import CORPORA, prepare, rows
from vgsr.corpora.rows import Face, Utterance


def test_columns_and_objects_are_the_same_rows(tree, tmp_path, monkeypatch):
    def reader(root):
        layout = CORPORA["folder"].reader(root)
        utterances = rows.gather(iter(layout.utterances), Utterance, [])
        return replace(layout, utterances=utterances, faces=rows.gather(iter(layout.faces), Face, []))

    monkeypatch.setitem(CORPORA, "changed", replace(CORPORA["folder"], name="changed", reader=reader))
    plain = prepare("folder", tree, tmp_path / "one").manifest
    assert prepare("changed", tree, tmp_path / "two").manifest.digest == plain.digest


def test_columns_are_a_sequence(monkeypatch):
    monkeypatch.setattr(rows, "PIECE", 3)
    objects = [Utterance(f"u{n}", f"s{n % 3}", "a", f"{n}.wav", speech_snr=None if n % 2 else 0.5) for n in range(10)]
    columns = rows.gather(iter(objects), Utterance, [])
    assert len(columns) == 10 and list(columns) == objects and list(reversed(columns)) == objects[::-1]
    assert columns[3] == objects[3] and columns[-1] == objects[-1]
    assert list(columns[2:5]) == objects[2:5] and list(columns[::3]) == objects[::3]
    assert rows.gather(columns, Utterance, []) is columns
    assert list(rows.gather([], Face, [])) == []
    with pytest.raises(IndexError):
        columns[10]
