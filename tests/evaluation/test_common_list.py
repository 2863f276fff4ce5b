"""Score tables are of one list, whatever the order of their trials, or it is said how they differ."""

import numpy as np
import pyarrow as pa
import pytest

from vgsr.evaluation import score_files
from vgsr.evaluation.common_list import ListError, common_list
from vgsr.evaluation.metrics import eer

ROWS = [  # label, enrolment, test, score; a recording is named by its speaker and a number
    (1, "ann/1", "ann/2", 0.9),
    (1, "bob/1", "bob/2", 0.3),
    (1, "cid/1", "cid/2", 0.8),
    (0, "ann/1", "bob/2", 0.4),
    (0, "cid/1", "bob/1", 0.1),
    (0, "bob/1", "ann/1", 0.2),
]


def table(rows=ROWS, **columns):
    labels, enrol, test, scores = zip(*rows, strict=True)
    cells = {
        "label": labels,
        "enrol": enrol,
        "test": test,
        "enrol_speaker": [name.split("/")[0] for name in enrol],
        "test_speaker": [name.split("/")[0] for name in test],
        "score": scores,
    }
    return pa.table({name: pa.array({**cells, **columns}[name]) for name in cells}).cast(score_files.SCORES)


def changed(at, row):
    return [*ROWS[:at], row, *ROWS[at + 1 :]]


def test_each_system_is_ranked_on_the_first_ones_trials():
    other = [(label, enrol, test, score * (1 - 2 * (enrol == "cid/1"))) for label, enrol, test, score in ROWS]
    shuffled = [other[at] for at in (3, 5, 0, 4, 1, 2)]
    both = common_list([table(), table(shuffled)], ["A", "B"])
    assert [one.eer for one in both.systems] == [
        eer([row[3] for row in rows], [row[0] for row in rows]).value for rows in (ROWS, other)
    ]
    assert both.systems[1].targets.tolist() == [2, 1, 0]
    assert both.who.enrol.tolist() == [0, 1, 2, 0, 2, 1] and both.who.test.tolist() == [0, 1, 2, 1, 1, 0]
    assert both.who.pair[3] == both.who.pair[5] != both.who.pair[4] and both.who.pairs == 2


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS[:-1], r"A \(6 trials\) and B \(5 trials\).*: 1 trials are in A only: bob/1 ann/1"),
        ([*ROWS, (0, "ann/1", "cid/1", 0.2)], r"1 trials are in B only: ann/1 cid/1"),
        (changed(4, (0, "cid/2", "bob/1", 0.1)), r"in A only: cid/1 bob/1; 1 trials are in B only: cid/2 bob/1"),
        ([*ROWS, ROWS[0]], "one of them has trials more often"),
    ],
)
def test_lists_that_differ_are_told_apart(rows, said):
    with pytest.raises(ListError, match=said):
        common_list([table(), table(rows)], ["A", "B"])


def test_another_label_or_speaker_is_another_list():
    renamed = table(
        enrol_speaker=["ann", "bob", "eve", "ann", "eve", "bob"],
        test_speaker=["ann", "bob", "eve", "bob", "bob", "ann"],
    )
    with pytest.raises(ListError, match=r"in 2 trials they have another enrol_speaker: cid/1 cid/2, cid/1 bob/1"):
        common_list([table(), renamed], ["A", "B"])
    merged = table(
        label=[1, 1, 1, 1, 0, 1],
        enrol_speaker=["ann"] * 2 + ["cid", "ann", "cid", "ann"],
        test_speaker=["ann"] * 2 + ["cid", "ann", "ann", "ann"],
    )
    with pytest.raises(ListError, match="in 2 trials they have another label: ann/1 bob/2"):
        common_list([table(), merged], ["A", "B"])


def test_another_speaker_on_the_tests_side_alone_is_another_list():
    renamed = table(test_speaker=["ann", "bob", "cid", "bob", "eve", "ann"])
    with pytest.raises(ListError, match=r"in 1 trials they have another test_speaker: cid/1 bob/1"):
        common_list([table(), renamed], ["A", "B"])


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("enrol_speaker", [None] * 6),
        ("test_speaker", ["ann", "bob", "cid", "bob", None, "ann"]),
        ("label", [None, 1, 1, 0, 0, 0]),
    ],
)
def test_what_is_not_told_is_asked_for(column, values):
    with pytest.raises(ListError, match=f"B: trials without {column}.*Parquet"):
        common_list([table(), table(**{column: values})], ["A", "B"])
    with pytest.raises(ListError, match=f"A: trials without {column}"):
        common_list([table().drop_columns([column])], ["A"])


def test_labels_that_contradict_the_speakers_are_refused():
    with pytest.raises(
        ListError, match="A: in 2 trials the label says another thing than the speakers: ann/1 ann/2, ann/1 bob/2"
    ):
        common_list([table(label=[0, 1, 1, 1, 0, 0])], ["A"])


def test_names_with_spaces_are_not_mixed_up():
    one = table([*ROWS[:4], (0, "ann b", "cid", 0.1), (0, "ann", "b cid", 0.2)])
    other = table([*ROWS[:4], (0, "ann", "b cid", 0.2), (0, "ann b", "cid", 0.1)])
    found = common_list([one, other], ["A", "B"]).systems
    assert np.array_equal(found[0].nontargets, found[1].nontargets)
