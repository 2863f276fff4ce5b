"""Who is who in VoxCeleb: vox1_meta.csv or vox2_meta.csv in, people out.

VoxCeleb1 ID  VGGFace1 ID   Gender  Nationality  Set      with tabs between (vox1_meta.csv)
id10001       A.J._Buckley  m       Ireland      dev

VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set                    with commas (vox2_meta.csv)
id00012 ,n000012 ,m ,dev
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from vgsr.corpora.registry import CorpusError

PUBLISHED_AT = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb"
SETS = ("dev", "test")


@dataclass(frozen=True)
class Person:
    """A speaker: its id, the name of its folder in VGGFace, and its set, dev or test."""

    speaker: str
    face: str
    set: str


def find(root: Path, given: str | None, name: str) -> Path | None:
    """The table `name`: the file that was given, or the one under the root; CorpusError where the former is none."""
    if given is not None:
        file = Path(str(given))
        if not file.is_file():
            raise CorpusError(f"{file}: no such file; meta=PATH names {name}")
        return file
    return next((file for file in (root / name, root / "meta" / name) if file.is_file()), None)


def read(file: Path) -> dict[str, Person]:
    """The people of a table by their ids; CorpusError where a column is missing or a set is neither dev nor test."""
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    table = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    heads = table[0] if table else []
    columns = {
        wanted: next((place for place, head in enumerate(heads) if head.startswith(wanted)), None)
        for wanted in ("VoxCeleb", "VGGFace", "Set")
    }
    missing = [name for name, place in columns.items() if place is None]
    if missing:
        have = ", ".join(heads) or "none"
        raise CorpusError(f"{file}: no column {', '.join(missing)} (it has: {have}); get it from {PUBLISHED_AT}")
    people = {}
    for number, row in enumerate(table[1:], 2):
        if not any(row):
            continue
        speaker, face, part = (
            row[place] if place < len(row) else "" for place in columns.values() if place is not None
        )
        if part not in SETS:
            raise CorpusError(f"{file}:{number}: set {part!r} of {speaker} is neither dev nor test")
        people[speaker] = Person(speaker, face, part)
    return people
