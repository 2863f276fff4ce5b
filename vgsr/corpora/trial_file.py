"""Trial lists of any length: a text file with a line `ENROL TEST LABEL` for each trial in, a table out.

The columns stay Arrow's, so that the 3,484,292 trials of CN-Celeb's list take what their letters take.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from vgsr.corpora.registry import CorpusError
from vgsr.data.tables import TRIALS

COLUMNS = ("enrol", "test", "label")
LABELS = {"1": 1, "target": 1, "0": 0, "nontarget": 0}


def read(file: Path, columns: Sequence[str] = COLUMNS) -> pa.Table:
    """The trials of a file, columns label, enrol, test; `columns`: the order in which its lines have them.

    CorpusError on a line that is not two names and a label of `LABELS`: without it, it would be another list.
    """
    wrong = ""

    def refuse(row: csv.InvalidRow) -> str:
        nonlocal wrong
        wrong = f"line {row.number} has {row.actual_columns} words"
        return "error"

    try:
        table = csv.read_csv(
            file,
            # One thread: only then are the lines numbered.
            read_options=csv.ReadOptions(column_names=columns, use_threads=False),
            parse_options=csv.ParseOptions(
                delimiter=" ", quote_char=False, newlines_in_values=False, invalid_row_handler=refuse
            ),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
        ).combine_chunks()
    except pa.ArrowInvalid as error:
        raise _refused(file, columns, wrong or str(error)) from error
    found = pc.index_in(table["label"], value_set=pa.array(LABELS))
    if found.null_count:
        row = pc.index(pc.is_null(found), True).as_py()
        raise _refused(file, columns, f"trial {row + 1:,} has the label {table['label'][row].as_py()!r}")
    labels = pa.array(LABELS.values(), pa.int8()).take(found.combine_chunks())
    return table.set_column(columns.index("label"), TRIALS.field("label"), labels).select(TRIALS.names)


def renamed(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """The trials with their enrolments called otherwise; `names` has every one of them."""
    rows = pc.index_in(table["enrol"], value_set=pa.array(names.keys(), pa.string()))
    enrol = pa.array(names.values(), pa.string()).take(rows.combine_chunks())
    return table.set_column(table.column_names.index("enrol"), TRIALS.field("enrol"), enrol)


def _refused(file: Path, columns: Sequence[str], reason: str) -> CorpusError:
    form = f"{' '.join(columns).upper()}, with a label 1 or 0, target or nontarget"
    return CorpusError(f"{file}: no trial list: {reason}; a line is {form}. Mend it, or move it away to do without")
