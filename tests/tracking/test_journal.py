"""The journal of events against a plain list, whatever is killed when, and however small its segments are."""

import random

import pytest

from vgsr.tracking import journal
from vgsr.tracking.journal import Journal


def killed(kept):
    """Its process is gone: nothing is tidied, and its lock is free."""
    kept._lock.close()


@pytest.mark.parametrize("seed", range(60))
def test_what_was_not_sent_is_there_in_its_order_after_any_end(seed, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SEGMENT", 150)
    chance, said, unsent, kept = random.Random(seed), 0, {}, Journal(tmp_path)
    waiting = []
    for _ in range(120):
        if chance.random() < 0.5:
            waiting.append(kept.append({"kind": "row", "search": "s", "trial": "t", "number": said}))
            unsent[said] = True
            said += 1
        elif waiting and chance.random() < 0.9:
            entry = waiting.pop(0 if chance.random() < 0.7 else chance.randrange(len(waiting)))
            del unsent[kept.read(entry)["number"]]
            kept.sent(entry)
        elif chance.random() < 0.4:
            if chance.random() < 0.3:
                kept.close()
            else:
                killed(kept)
            kept = Journal(tmp_path)
            waiting = list(kept.left)
            assert [kept.read(entry)["number"] for entry in waiting] == list(unsent)
    for entry in waiting:
        kept.sent(entry)
    kept.close()
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]
    assert Journal(tmp_path).left == []


def test_a_segment_that_was_all_sent_when_its_process_was_killed_is_removed(tmp_path):
    kept = Journal(tmp_path)
    kept.sent(kept.append({"kind": "row", "search": "s", "trial": "t"}))
    killed(kept)
    assert list(tmp_path.glob("*.jsonl"))
    again = Journal(tmp_path)
    assert again.left == [] and not list(tmp_path.glob("*.jsonl")) and not list(tmp_path.glob("*.sent"))
    entry = again.append({"kind": "row", "search": "s", "trial": "t", "number": 2})
    killed(again)
    assert [item.line for item in Journal(tmp_path).left] == [entry.line]


def test_a_line_that_was_cut_off_was_never_kept(tmp_path):
    kept = Journal(tmp_path)
    kept.append({"kind": "row", "search": "s", "trial": "t", "number": 1})
    killed(kept)
    (segment,) = tmp_path.glob("*.jsonl")
    with segment.open("ab") as file:
        file.write(b'{"kind": "row", "search"')
    again = Journal(tmp_path)
    assert [again.read(entry)["number"] for entry in again.left] == [1]
