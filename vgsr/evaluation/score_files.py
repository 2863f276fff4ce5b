"""Score files: the scores of a trial list, ours or another system's.

In and out: a score table (`SCORES`), as Parquet or as one of the field's texts (`score_texts.FORMS`). `align` brings
a table into the order of a trial list.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vgsr.evaluation import rows, score_texts
from vgsr.evaluation.metrics import Floats
from vgsr.evaluation.rows import Rows
from vgsr.evaluation.score_texts import ScoreFileError
from vgsr.storage import parquet

SCORES = pa.schema(
    [
        ("label", pa.int8()),  # 1 same speaker, 0 different speakers; null where a file does not tell
        ("enrol", pa.string()),
        ("test", pa.string()),
        ("enrol_speaker", pa.string()),  # null where a file does not tell
        ("test_speaker", pa.string()),
        ("score", pa.float64()),
    ]
)


@dataclass(frozen=True, eq=False)
class Aligned:
    """Scores in the order of a trial list: float64 [T]; superfluous: trials with a score that the list lacks."""

    scores: Floats
    superfluous: int


def read(path: str | Path, form: str | None = None) -> pa.Table:
    """The score table (`SCORES`) in a file: Parquet where its name ends in .parquet, else text.

    `form`: one of `score_texts.FORMS`, told by the first line without one. A trial may be there twice, with one score.
    Raises ScoreFileError, with the line, on what is not a score file, as `score_texts.parse` does, and on trials with
    two scores or two labels.
    """
    path = Path(path)
    if not path.is_file():
        raise ScoreFileError(f"{path}: there is no such file")
    try:
        if path.suffix == ".parquet":
            table = _parquet(path)
        else:
            cells = score_texts.parse(path, form)
            table = _table(cells, len(cells["score"]))
    except (OSError, pa.ArrowException) as error:
        raise ScoreFileError(f"{path}: cannot be read as a score file ({error})") from error
    _refuse_contradictions(path, "row" if path.suffix == ".parquet" else "line", table)
    return table


def write(path: str | Path, table: pa.Table) -> None:
    """Write a score table: as Parquet where the name ends in .parquet, else as text, "enrol test score label".

    The text has no speakers, and no label where the table has none. Scores are read back exactly. Raises
    ScoreFileError on an empty cell, and on ids that are empty or hold white space, which a text cannot tell from
    columns.
    """
    path, table = Path(path), table.select(SCORES.names).cast(SCORES)
    if path.suffix == ".parquet":
        pq.write_table(table, path, compression="zstd")
        return
    columns = [table["enrol"], table["test"], table["score"].cast(pa.string())]
    for column in columns[:2]:
        bad = column.filter(pc.match_substring_regex(column, r"^$|[ \t\r\n\v\f]")).unique().to_pylist()
        if bad:
            raise ScoreFileError(
                f"{path}: {len(bad):,} ids are empty or hold white space: {rows.some([repr(name) for name in bad])}. "
                "Rename them, or write Parquet (a name that ends in .parquet)",
                bad,
            )
    if table["label"].null_count < len(table):
        columns.append(pc.take(pa.array(["nontarget", "target"]), table["label"]))
    lines = pc.binary_join_element_wise(*columns, " ")
    if lines.null_count:
        raise ScoreFileError(f"{path}: {lines.null_count:,} of {len(table):,} trials have an empty cell")
    path.write_bytes("".join(f"{line}\n" for line in lines.to_pylist()).encode())


def align(table: pa.Table, trials: pa.Table) -> Aligned:
    """The scores of a table that `read` gave, in the order of trials with columns `enrol`, `test` and maybe `label`.

    Raises ScoreFileError naming the trials that have no score, or whose label in the table is another.
    """
    keys, (enrolled, tested) = _pairs(table)
    keys, first = np.unique(keys, return_index=True)
    enrol, test = rows.find(rows.names(trials["enrol"]), enrolled), rows.find(rows.names(trials["test"]), tested)
    wanted = np.where((enrol < 0) | (test < 0), -1, enrol * len(tested) + test)
    place = np.searchsorted(keys, wanted)
    lost = np.flatnonzero(np.append(keys, -2)[place] != wanted)
    if len(lost):
        missing = _told(trials, lost)
        raise ScoreFileError(
            f"{len(missing):,} of {len(wanted):,} trials have no score: {rows.some(missing)}. The scores are of trials "
            f"such as {rows.some(_told(table, range(min(2, len(table)))))}",
            missing,
        )
    chosen = table.select(["label", "score"]).take(pa.array(first[place]))
    if "label" in trials.column_names:
        unlike = pc.fill_null(pc.not_equal(chosen["label"], trials["label"].cast(pa.int8())), False).to_numpy()
        contradicted = _told(trials, np.flatnonzero(unlike))
        if contradicted:
            raise ScoreFileError(
                f"{len(contradicted):,} trials are of the same speaker in the trial list and of different speakers in "
                f"the score file, or the reverse: {rows.some(contradicted)}",
                contradicted,
            )
    return Aligned(chosen["score"].to_numpy(), len(keys) - len(np.unique(place)))


def _parquet(path: Path) -> pa.Table:
    table = parquet.table(path)
    lacking = [name for name in ("enrol", "test", "score") if name not in table.column_names]
    if lacking:
        raise ScoreFileError(f"{path}: lacks {', '.join(lacking)}; it has the columns {', '.join(table.column_names)}")
    table = _table({name: table[name] for name in table.column_names}, len(table))
    for what, sound in (
        ("no enrolment", table["enrol"].is_valid()),
        ("no test", table["test"].is_valid()),
        ("no finite score", pc.fill_null(pc.is_finite(table["score"]), False)),
        ("a label other than 0 and 1", pc.is_in(table["label"], value_set=pa.array([0, 1, None], pa.int8()))),
    ):
        row = pc.index(sound, False).as_py()
        if row >= 0:
            raise ScoreFileError(f"{path}, row {row + 1}: {what}")
    return table


def _table(cells: dict[str, pa.ChunkedArray], count: int) -> pa.Table:
    """Columns as a score table, with nulls where there is none."""
    columns = [cells.get(field.name, pa.nulls(count, field.type)).cast(field.type) for field in SCORES]
    return pa.table(columns, schema=SCORES)


def _refuse_contradictions(path: Path, line: str, table: pa.Table) -> None:
    """ScoreFileError with the lines of the first trial of a file that has two scores or two labels."""
    keys, _ = _pairs(table)
    order = np.argsort(keys, kind="stable")
    again = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    one, other = order[again], order[again + 1]
    for name in ("score", "label"):
        values = pc.fill_null(table[name].cast(pa.float64()), -1).to_numpy()
        unlike = np.flatnonzero(values[one] != values[other])
        if len(unlike):
            pair = unlike[np.argmin(other[unlike])]
            first, second = int(one[pair]), int(other[pair])
            raise ScoreFileError(
                f"{path}, {line} {second + 1}: the trial {_told(table, [second])[0]} has the {name} "
                f"{table[name][second]}, but in {line} {first + 1} it has {table[name][first]}"
            )


def _pairs(table: pa.Table) -> tuple[Rows, tuple[pa.Array, pa.Array]]:
    """One number a trial, the same for the same two names, and the names: enrol · number of tests + test."""
    enrol, test = (rows.names(table[side]).dictionary_encode() for side in ("enrol", "test"))
    enrol_code, test_code = (side.indices.to_numpy().astype(np.int64) for side in (enrol, test))
    return enrol_code * len(test.dictionary) + test_code, (enrol.dictionary, test.dictionary)


def _told(trials: pa.Table, at: Sequence[int] | Rows) -> list[str]:
    """The trials in those rows as "enrol test"."""
    chosen = trials.select(["enrol", "test"]).take(pa.array(at, pa.int64()))
    return pc.binary_join_element_wise(chosen["enrol"], chosen["test"], " ").to_pylist()
