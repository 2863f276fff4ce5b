"""The texts in which the field's toolkits write scores, one trial a line: a file in, its columns out.

Which form a text has is told by its first line (`form_of`) or by the caller. A line that does not fit is an error.
"""

import math
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

# The columns of the forms, between single spaces, and who writes them.
FORMS = {
    "enrol test score": "Kaldi",
    "score enrol test": "VoxSRC",
    "enrol test score label": "WeSpeaker",
    "enrol test label score": "SpeechBrain, 3D-Speaker",
    # The four further columns, of each side the embedding's norm and the mean of its cohort scores, are read past.
    "enrol test score label enrol_norm test_norm enrol_mean test_mean": "WeSpeaker, normalised",
}
# Taken for a text in VoxSRC's form if it were not known.
TRIAL_LIST = "label enrol test"
LABELS = {"0": 0, "1": 1, "nontarget": 0, "target": 1}
LONGEST_LINE = 10_000  # bytes of the first line that are looked at
READ = ("enrol", "test", "score", "label")
NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class ScoreFileError(Exception):
    """A score file that cannot be read or does not fit a trial list; `names` has every trial the text is about."""

    def __init__(self, message: str, names: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.names = list(names)


def parse(path: Path, form: str | None = None) -> dict[str, pa.ChunkedArray]:
    """Columns enrol, test (string), score (float64, finite) and, where the form has it, label (int8: 1 or 0).

    Columns are separated by spaces or tabs. Raises ScoreFileError, with the line, on what does not fit `form`, or
    `form_of` the first line without one.
    """
    data = path.read_bytes().removeprefix(BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\t", b" ")
    data = data.rstrip().lstrip(b" ")
    if b"  " in data or b" \n" in data or b"\n " in data:
        data = re.sub(rb" *\n *", b"\n", re.sub(rb" +", b" ", data))
    if not data:
        raise ScoreFileError(f"{path}: there is no score in it")
    form = form or form_of(path, data[:LONGEST_LINE].partition(b"\n")[0].decode(errors="replace"))
    if form not in FORMS:
        raise ScoreFileError(f"{form!r} is no form of scores; the forms are {_listed(FORMS)}")
    columns = form.split(" ")
    try:
        cells = _cells(data, columns)
    except pa.ArrowInvalid as error:
        raise _mistake(path, data, columns, str(error)) from error
    if any(column.null_count for column in cells.values()):
        raise _mistake(path, data, columns, "a score or a label is none")
    return cells


def form_of(path: Path, line: str) -> str:
    """The form of a file with that first line; ScoreFileError where several fit, or none.

    A form fits that has as many columns, a number for its score, and 0, 1, target or nontarget for its label.
    """
    tokens = line.split(" ")
    fitting = [form for form in (*FORMS, TRIAL_LIST) if _fits(form.split(" "), tokens)]
    if len(fitting) == 1 and fitting[0] != TRIAL_LIST:
        return fitting[0]
    problem = f"could be {_listed(fitting)}; name its form" if fitting else f"has none of the forms {_listed(FORMS)}"
    raise ScoreFileError(f"{path}, line 1: {line[:200]!r} {problem}")


def _fits(columns: list[str], tokens: list[str]) -> bool:
    return len(columns) == len(tokens) and all(
        NUMBER.fullmatch(token) if name == "score" else token in LABELS if name == "label" else token
        for name, token in zip(columns, tokens, strict=True)
    )


def _listed(forms: Iterable[str]) -> str:
    return ", ".join(f"{form!r} ({FORMS.get(form, 'a trial list, which has no scores')})" for form in forms)


def _cells(data: bytes, columns: list[str]) -> dict[str, pa.ChunkedArray]:
    """The columns that are `READ`; ArrowInvalid or a null in them where a line does not fit."""
    kept = [name for name in columns if name in READ]
    table = csv.read_csv(
        pa.BufferReader(data),
        csv.ReadOptions(column_names=columns),
        csv.ParseOptions(delimiter=" ", quote_char=False, double_quote=False, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types={name: pa.float64() if name == "score" else pa.string() for name in kept},
            include_columns=kept,
            null_values=[],
        ),
    )
    cells = {name: table[name] for name in kept}
    cells["score"] = pc.if_else(pc.is_finite(cells["score"]), cells["score"], None)
    if "label" in cells:
        number = pc.index_in(cells["label"], value_set=pa.array(LABELS))
        cells["label"] = pc.take(pa.array(LABELS.values(), pa.int8()), number)
    return cells


def _mistake(path: Path, data: bytes, columns: list[str], otherwise: str) -> ScoreFileError:
    """The error about the first line that is not as it should be, or `otherwise` where none is found."""
    for count, line in enumerate(data.split(b"\n"), 1):
        where, width = f"{path}, line {count}", line.count(b" ") + 1
        if width != len(columns):
            return ScoreFileError(f"{where}: {width} columns instead of {len(columns)} ({' '.join(columns)})")
        try:
            cells = dict(zip(columns, line.decode().split(" "), strict=True))
        except UnicodeDecodeError:
            return ScoreFileError(f"{where}: not UTF-8")
        if not (NUMBER.fullmatch(cells["score"]) and math.isfinite(float(cells["score"]))):
            return ScoreFileError(f"{where}: the score {cells['score'][:80]!r} is not a finite number")
        if "label" in cells and cells["label"] not in LABELS:
            return ScoreFileError(f"{where}: the label {cells['label'][:80]!r} is none of {', '.join(LABELS)}")
    return ScoreFileError(f"{path}: cannot be read as {' '.join(columns)!r} ({otherwise})")
