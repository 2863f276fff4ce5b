"""Score tables of one trial list, brought together: who speaks in each trial, and how each system ranks them.

In: score tables (`score_files.SCORES`) with labels and speakers, their trials in whatever order.
Out: a `CommonList`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vgsr.evaluation import rows
from vgsr.evaluation.resampling import Voices, voices
from vgsr.evaluation.rows import Rows
from vgsr.evaluation.weighted import Ranked, rank

NEEDED = ("label", "enrol", "test", "enrol_speaker", "test_speaker", "score")


class ListError(Exception):
    """Score tables that are not of one list, or that do not say who speaks."""


@dataclass(frozen=True, eq=False)
class CommonList:
    """One trial list and the systems that scored it."""

    who: Voices
    systems: list[Ranked]


def common_list(tables: Sequence[pa.Table], names: Sequence[str]) -> CommonList:
    """The list that all tables are of; `names` are what messages call them.

    Raises ListError when the tables differ in a trial, a label or a speaker, or lack some of these, and MetricError on
    scores without an EER.
    """
    for table, name in zip(tables, names, strict=True):
        _check(table, name)
    first = tables[0]
    target = first["label"].to_numpy() == 1
    systems = [rank(first["score"].to_numpy(), target)]
    for table, name in zip(tables[1:], names[1:], strict=True):
        at = _rows(first, names[0], table, name)
        systems.append(rank(table["score"].to_numpy()[at], target))
    sides = [rows.names(first[side]) for side in ("enrol_speaker", "test_speaker")]
    speakers = pc.unique(pa.concat_arrays(sides)).sort()
    return CommonList(voices(target, *(rows.find(side, speakers) for side in sides)), systems)


def _check(table: pa.Table, name: str) -> None:
    """ListError where trials have no label or no speakers, or where these contradict each other."""
    lacking = [column for column in NEEDED if column not in table.column_names or table[column].null_count]
    if lacking:
        raise ListError(
            f"{name}: trials without {', '.join(lacking)}. Whether a difference is chance depends on who speaks: take "
            "score files in Parquet as `vgsr evaluate` writes them; texts have no speakers"
        )
    same = pc.equal(table["enrol_speaker"], table["test_speaker"])
    wrong = table.filter(pc.not_equal(same, pc.equal(table["label"], 1)))
    if len(wrong):
        raise ListError(
            f"{name}: in {len(wrong):,} trials the label says another thing than the speakers: {_told(wrong)}"
        )


def _rows(first: pa.Table, first_name: str, table: pa.Table, name: str) -> Rows:
    """Where the first table's trials are in another one; a ListError says how the two differ."""
    here, there = _trials(first), _trials(table)
    if here.equals(there):
        at = back = np.arange(len(first))
    else:
        at, back = rows.find(here, there), rows.find(there, here)
    told = []
    for trials, only in ((first.filter(pa.array(at < 0)), first_name), (table.filter(pa.array(back < 0)), name)):
        if len(trials):
            told.append(f"{len(trials):,} trials are in {only} only: {_told(trials)}")
    if not told and len(first) != len(table):
        told.append("one of them has trials more often than the other")
    for column in () if told else ("label", "enrol_speaker", "test_speaker"):
        unlike = first.filter(pc.not_equal(first[column], table[column].take(pa.array(at))))
        if len(unlike):
            told.append(f"in {len(unlike):,} trials they have another {column}: {_told(unlike)}")
    if told:
        raise ListError(
            f"{first_name} ({len(first):,} trials) and {name} ({len(table):,} trials) are of different lists: "
            + "; ".join(told)
        )
    return at


def _trials(table: pa.Table) -> pa.Array:
    """One text a trial, the same for the same two names (which hold no line break)."""
    return rows.names(pc.binary_join_element_wise(*(rows.names(table[side]) for side in ("enrol", "test")), "\n"))


def _told(trials: pa.Table) -> str:
    """The first of these trials, for a message."""
    shown = [f"{trial['enrol']} {trial['test']}" for trial in trials[:3].select(["enrol", "test"]).to_pylist()]
    return ", ".join(shown) + (", …" if len(trials) > len(shown) else "")
