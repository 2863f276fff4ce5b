"""What makes a manifest worthless, looked for before one is written: its tables in, a ManifestError or nothing out."""

import re
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from vgsr.storage.place import OUTSIDE_PATTERN

SPLITS = ("train", "validation", "test")
SHOWN = 5  # names in a message


class ManifestError(Exception):
    """A manifest that cannot be trusted or read; the text says what to mend."""


# Of a corpus or a trial list: it becomes the name of files, of figures and of lines of a table.
NAME = re.compile(r"[^\W_][^\x00-\x1f\x7f-\x9f/\\]{0,99}")


def named(what: str, name: object) -> str:
    """The name of a corpus or a trial list; ManifestError where no file could be called so."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ManifestError(
            f"{what} {str(name)[:100]!r}: a name begins with a letter or a digit, has 100 of them at most, no strokes "
            "and no control characters"
        )
    return name


def read_as_named(place: str, root: str, table: pa.Table) -> pa.Table:
    """The table itself; ManifestError where a file in it does not lie under the root (see `storage.inside`), or a
    speaker has control characters in the name."""
    if "uri" in table.column_names:
        outside = pc.match_substring_regex(table["uri"], OUTSIDE_PATTERN)
        # `bank://` is no file and never opened: such a corpus comes with a bank.
        found = table["uri"].filter(pc.and_(outside, pc.invert(pc.starts_with(table["uri"], "bank://"))))
        if len(found):
            first = found[0].as_py()[:200]
            raise ManifestError(
                f"{place}: refused: {len(found):,} of its {len(table):,} files, such as {first!r}, are not "
                f"under its root {root}: absolute paths, schemes, '..' and control characters are not followed. "
                "If the manifest is your own, prepare it again"
            )
    if "speaker" in table.column_names:
        found = table["speaker"].filter(pc.match_substring_regex(table["speaker"], r"[\x00-\x1f\x7f]"))
        if len(found):
            raise ManifestError(f"{place}: refused: control characters in a speaker's name, {found[0].as_py()[:200]!r}")
    return table


def check(utterances: pa.Table, faces: pa.Table, lists: Mapping[str, pa.Table]) -> None:
    """ManifestError on double ids, unknown splits, and what `_check_trials` refuses in the lists `trials/…`.

    Utterances and faces are sorted by their ids.
    """
    _unique(utterances["utterance_id"], "utterance")
    _unique(faces["face_id"], "face")
    unknown = set(utterances["split"].unique().to_pylist()) - set(SPLITS)
    if unknown:
        raise ManifestError(f"unknown split {sorted(map(str, unknown))}: use one of {', '.join(SPLITS)}")
    speakers = utterances.select(["utterance_id", "speaker"]).rename_columns(["name", "speaker"])
    train = utterances["speaker"].filter(pc.equal(utterances["split"], "train")).unique()
    for key, table in lists.items():
        kind, _, name = key.partition("/")
        if kind == "trials":
            enrolled = lists.get(f"enrolments/{name}")
            known = speakers if enrolled is None else pa.concat_tables([speakers, _enrolled(name, enrolled, speakers)])
            _check_trials(name, table, known, train)
        elif f"trials/{name}" not in lists:
            raise ManifestError(f"enrolments {name!r}: there is no trial list of that name")


def _enrolled(name: str, table: pa.Table, speakers: pa.Table) -> pa.Table:
    """The speaker of each enrolled name: columns name, speaker."""
    rows = _find(table["utterance_id"], speakers)
    if rows.null_count:
        lost = table.filter(pc.is_null(rows)).slice(0, 1).to_pylist()[0]
        raise ManifestError(
            f"enrolments {name!r}: utterance {lost['utterance_id']} of {lost['enrol']} is not in the corpus"
        )
    names = table["enrol"].unique()
    double = names.filter(pc.is_valid(_find(names, speakers)))
    if len(double):
        raise ManifestError(f"enrolments {name!r}: {double[0]} is the name of an utterance too; give it another")
    found = pa.table({"name": table["enrol"], "speaker": speakers["speaker"].take(rows)})
    found = found.group_by(["name", "speaker"], use_threads=False).aggregate([])
    first = pc.index_in(names, value_set=found["name"].combine_chunks())
    if len(found) > len(names):
        several = found["name"].value_counts()
        mixed = several.field("values").filter(pc.greater(several.field("counts"), 1))[0].as_py()
        owners = ", ".join(found.filter(pc.equal(found["name"], mixed))["speaker"].to_pylist())
        raise ManifestError(f"enrolments {name!r}: {mixed} has utterances of several speakers ({owners})")
    return found.take(first).select(["name", "speaker"]).cast(speakers.schema)


def _check_trials(name: str, table: pa.Table, speakers: pa.Table, train: pa.Array) -> None:
    sides = []
    for side in ("enrol", "test"):
        rows = _find(table[side], speakers)
        if rows.null_count:
            lost = table[side].filter(pc.is_null(rows)).unique().to_pylist()
            raise ManifestError(
                f"trial list {name!r}: {len(lost)} utterances are not in the corpus: {', '.join(lost[:SHOWN])}"
            )
        sides.append(speakers["speaker"].take(rows))
    shared = set(train.to_pylist()) & {speaker for side in sides for speaker in side.unique().to_pylist()}
    if shared:
        raise ManifestError(
            f"trial list {name!r}: {len(shared)} speakers are also in training "
            f"({', '.join(sorted(shared)[:SHOWN])}); a figure from it would be worthless"
        )
    wrong = pc.not_equal(pc.equal(sides[0], sides[1]), pc.equal(table["label"], 1))
    if pc.any(wrong).as_py():
        first = pc.index(wrong, True).as_py()
        raise ManifestError(
            f"trial list {name!r}: {pc.sum(wrong).as_py()} labels contradict the speakers, first at row {first}"
        )


def _find(names: pa.ChunkedArray, speakers: pa.Table) -> pa.ChunkedArray:
    """The row of each name in the column `name`; null where there is none."""
    return pc.index_in(names, value_set=speakers["name"].combine_chunks())


def _unique(column: pa.ChunkedArray, what: str) -> None:
    double = column[1:].filter(pc.equal(column[1:], column[:-1])).unique().to_pylist()
    if double:
        raise ManifestError(f"{len(double)} {what} ids are not unique: {', '.join(double[:SHOWN])}")
