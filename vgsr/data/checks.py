"""What makes a manifest worthless, looked for before one is written: its tables in, a ManifestError or nothing out."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

SPLITS = ("train", "validation", "test")
SHOWN = 5  # names in a message


class ManifestError(Exception):
    """A manifest that cannot be trusted or read; the text says what to mend."""


def check(utterances: pa.Table, faces: pa.Table, lists: Mapping[str, pa.Table]) -> None:
    """ManifestError on double ids, unknown splits, and what `_check_trials` refuses in the lists `trials/…`."""
    _unique(utterances["utterance_id"], "utterance")
    _unique(faces["face_id"], "face")
    unknown = set(utterances["split"].to_pylist()) - set(SPLITS)
    if unknown:
        raise ManifestError(f"unknown split {sorted(map(str, unknown))}: use one of {', '.join(SPLITS)}")
    speakers = dict(zip(utterances["utterance_id"].to_pylist(), utterances["speaker"].to_pylist(), strict=True))
    train = set(utterances.filter(pc.equal(utterances["split"], "train"))["speaker"].to_pylist())
    for key, table in lists.items():
        kind, _, name = key.partition("/")
        if kind == "trials":
            enrolled = lists.get(f"enrolments/{name}")
            known = speakers if enrolled is None else speakers | _enrolled(name, enrolled, speakers)
            _check_trials(name, table, known, train)
        elif f"trials/{name}" not in lists:
            raise ManifestError(f"enrolments {name!r}: there is no trial list of that name")


def _enrolled(name: str, table: pa.Table, speakers: Mapping[str, str]) -> dict[str, str]:
    """The speaker of each enrolled name."""
    found: dict[str, str] = {}
    for row in table.to_pylist():
        enrol, utterance = row["enrol"], row["utterance_id"]
        if utterance not in speakers:
            raise ManifestError(f"enrolments {name!r}: utterance {utterance} of {enrol} is not in the corpus")
        if enrol in speakers:
            raise ManifestError(f"enrolments {name!r}: {enrol} is the name of an utterance too; give it another")
        if found.setdefault(enrol, speakers[utterance]) != speakers[utterance]:
            raise ManifestError(
                f"enrolments {name!r}: {enrol} has utterances of several speakers ({found[enrol]}, "
                f"{speakers[utterance]})"
            )
    return found


def _check_trials(name: str, table: pa.Table, speakers: Mapping[str, str], train: set[str]) -> None:
    names, owners = pa.array(speakers.keys(), pa.string()), pa.array(speakers.values(), pa.string())
    sides = []
    for side in ("enrol", "test"):
        rows = pc.index_in(table[side], value_set=names)
        if rows.null_count:
            lost = table[side].filter(pc.is_null(rows)).unique().to_pylist()
            raise ManifestError(
                f"trial list {name!r}: {len(lost)} utterances are not in the corpus: {', '.join(lost[:SHOWN])}"
            )
        sides.append(owners.take(rows))
    shared = train & (set(sides[0].to_pylist()) | set(sides[1].to_pylist()))
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


def _unique(column: pa.ChunkedArray, what: str) -> None:
    counts = column.value_counts()
    double = [c["values"].as_py() for c in counts if c["counts"].as_py() > 1] if len(counts) < len(column) else []
    if double:
        raise ManifestError(f"{len(double)} {what} ids are not unique: {', '.join(double[:5])}")
