"""Parts: there whole or not at all, never taken for another's; a row that kills is found out and given up."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vgsr import storage
from vgsr.data.manifest import Manifest
from vgsr.extraction import parts
from vgsr.extraction.parts import FATAL, ExtractionError, Part

from .backwards import Backwards


def do(work: Backwards, manifest: Manifest, folder: str, part: Part) -> parts.Summary:
    rows, function = work.rows(manifest), work.start(manifest, 1, False)
    return parts.do(part, work.key, rows, function, work.schema, folder)


def died(work: Backwards, manifest: Manifest, folder: str, part: Part) -> bool:
    """Do a part in a process of its own; whether that was killed."""
    child = os.fork()
    if child == 0:
        try:
            do(work, manifest, folder, part)
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def results(folder: str, made: list[Part]) -> list[dict[str, str | None]]:
    return pa.concat_tables(parts.finished(folder, made)).to_pylist()


def test_parts_cover_the_rows_in_order(names: Manifest, tmp_path: Path) -> None:
    folder, work = str(tmp_path / "parts"), Backwards()
    made = parts.cut(work.key, work.rows(names))
    assert [(part.start, part.count) for part in made] == [(0, 64), (64, 64), (128, 64), (192, 64), (256, 44)]
    for part in reversed(made):  # in whichever order they come
        summary = do(work, names, folder, part)
        ends_in_7 = sum(1 for n in range(part.start, part.start + part.count) if n % 10 == 7)
        assert (summary.start, summary.count, summary.lost) == (part.start, part.count, ends_in_7)
    assert results(folder, made) == [
        {"backwards": None, "problem": "ends in 7"}
        if n % 10 == 7
        else {"backwards": f"{n:03d}"[::-1] + "u", "problem": None}
        for n in range(300)
    ]
    assert parts.missing(folder, made) == []
    assert sorted(storage.listing(folder)) == sorted(part.file for part in made)  # and no marks


def test_a_part_is_good_for_its_rows_and_its_key_alone(names: Manifest, tmp_path: Path) -> None:
    folder, work = str(tmp_path / "parts"), Backwards()
    rows = work.rows(names)
    made = parts.cut(work.key, rows)
    do(work, names, folder, made[1])
    assert [part.start for part in parts.missing(folder, made)] == [0, 128, 192, 256]
    assert len(parts.missing(folder, parts.cut("of another model", rows))) == 5
    changed = [*rows["utterance_id"].to_pylist()[:70], "another", *rows["utterance_id"].to_pylist()[71:]]
    assert len(parts.missing(folder, parts.cut(work.key, pa.table({"utterance_id": changed})))) == 5
    # What is good does not depend on how the rows come in chunks.
    pieces = pa.concat_tables([rows.slice(0, 50), rows.slice(50, 100), rows.slice(150)])
    assert parts.cut(work.key, pieces) == made


def test_a_part_of_another_manifest_is_not_begun(names: Manifest, tmp_path: Path) -> None:
    part = parts.cut("backwards", pa.table({"utterance_id": ["a", "b"]}))[0]
    with pytest.raises(ExtractionError, match="the manifest reads otherwise here"):
        do(Backwards(), names, str(tmp_path / "parts"), part)


def test_a_damaged_part_is_removed_and_named(names: Manifest, tmp_path: Path) -> None:
    folder, work = str(tmp_path / "parts"), Backwards()
    made = parts.cut(work.key, work.rows(names))[:2]
    for part in made:
        do(work, names, folder, part)
    file = Path(folder) / made[1].file
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ExtractionError, match=made[1].file):
        results(folder, made)
    assert parts.missing(folder, made) == [made[1]]


def test_rows_that_kill_are_found_out_and_the_others_are_not_lost(names: Manifest, tmp_path: Path) -> None:
    folder, work = str(tmp_path / "parts"), Backwards(kill=("u070", "u100"))
    part = parts.cut(work.key, work.rows(names))[1]
    deaths = 0
    while parts.missing(folder, [part]):
        deaths += died(work, names, folder, part)
        assert deaths < 10
    assert deaths == 2 + 2 + 2  # of the part, then of each row
    clean = parts.cut("clean", work.rows(names))[1]
    do(Backwards(key="clean"), names, folder, clean)
    expected = results(folder, [clean])
    for row in (6, 36):
        expected[row] = {"backwards": None, "problem": FATAL}
    assert results(folder, [part]) == expected
    assert sorted(storage.listing(folder)) == sorted([part.file, clean.file])


def test_one_death_condemns_nobody(names: Manifest, tmp_path: Path) -> None:
    """A process that is killed while it works on a row says little of it: the machine may have been switched off."""
    folder = str(tmp_path / "parts")
    part = parts.cut("backwards", Backwards().rows(names))[0]
    place = Path(folder) / f"{part.file}.begun"
    place.parent.mkdir()
    place.write_text(json.dumps({"begun": 5, "row": 3, "deaths": {"9": 1}}))
    assert do(Backwards(), names, folder, part).lost == 6  # those that end in 7
    assert not place.exists()


def test_an_error_in_good_order_is_no_death(names: Manifest, tmp_path: Path) -> None:
    folder, work = str(tmp_path / "parts"), Backwards(mistake="u003")
    part = parts.cut(work.key, work.rows(names))[0]
    for _ in range(4):
        with pytest.raises(Exception, match="u003: a mistake"):
            do(work, names, folder, part)
        assert storage.listing(folder) == {}


def test_what_is_cleared_is_gone(names: Manifest, tmp_path: Path, s3) -> None:  # type: ignore[no-untyped-def]
    for folder in (str(tmp_path / "parts"), f"{s3.place}/bank.parquet.parts"):
        made = parts.cut("backwards", Backwards().rows(names))[:2]
        for part in made:
            do(Backwards(), names, folder, part)
        assert len(results(folder, made)) == 128
        parts.clear(folder)
        assert storage.listing(folder) == {}
    assert not (tmp_path / "parts").exists()


def test_parts_are_parquet_that_anybody_can_read(names: Manifest, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    part = parts.cut("backwards", Backwards().rows(names))[0]
    do(Backwards(), names, str(folder), part)
    assert pq.read_table(folder / part.file).column_names == ["backwards", "problem"]
