"""The bank: what is written is read, bad files are refused, and imports line up with the manifest."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from vgsr.data.manifest import FACES, Manifest
from vgsr.teachers import bank as banks
from vgsr.teachers import vectors
from vgsr.teachers.bank import Bank, BankError


def faces(count: int) -> pa.Table:
    rows = [{"face_id": f"f{n}", "speaker": f"s{n % 3}", "session": str(n), "uri": f"{n}.jpg"} for n in range(count)]
    return pa.Table.from_pylist(rows, schema=FACES)


def made(embeddings: np.ndarray) -> Bank:
    return banks.build(faces(len(embeddings)), embeddings, model="m", digest="d", manifest_digest="c", recipe="r")


@settings(max_examples=30)
@given(
    rows=hn.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 6)), elements=st.floats(-9, 9, width=32)),
    data=st.data(),
)
def test_a_bank_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: np.ndarray, data: st.DataObject
) -> None:
    missing = data.draw(hn.arrays(bool, len(rows)))
    rows[missing] = np.nan
    path = tmp_path_factory.mktemp("bank") / "bank.parquet"
    before = made(rows)
    after = banks.write(path, before)
    assert after.table == before.table and after.recipe == "r"
    np.testing.assert_array_equal(after.matrix(), rows)
    np.testing.assert_array_equal(before.matrix(), rows)
    some = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    np.testing.assert_array_equal(after.embeddings.take(some), rows[some])
    assert after.table["problem"].is_valid().to_pylist() == missing.tolist()
    assert [file.name for file in path.parent.iterdir()] == ["bank.parquet"]


def test_signals_are_kept_and_missing_ones_are_null() -> None:
    rows = np.array([[3, 4], [np.nan, np.nan]], np.float32)
    found = banks.build(
        faces(2),
        rows,
        model="m",
        digest="d",
        manifest_digest="c",
        sharpness=np.array([5, np.nan]),
        pose=np.array([0.5, np.nan]),
        problems=[None, "no face found"],
    ).table.to_pylist()
    assert [row["face_norm"] for row in found] == [5, None]
    assert [row["face_sharpness"] for row in found] == [5, None]
    assert [row["face_detection"] for row in found] == [None, None]
    assert [row["face_pose"] for row in found] == [0.5, None]
    assert [row["face_agreement"] for row in found] == [None, None]
    assert [row["problem"] for row in found] == [None, "no face found"]


def test_embeddings_that_came_normalised_have_no_norm_signal() -> None:
    rows = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert made(rows).table["face_norm"].null_count == 6


def test_rows_are_read_where_they_lie_in_the_file(tmp_path: Path) -> None:
    count = 2 * vectors.GROUP + 17  # three row groups
    rows = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    rows[[3, vectors.GROUP]] = np.nan
    bank = banks.write(tmp_path / "bank.parquet", made(rows))
    assert isinstance(bank.embeddings, vectors.Stored) and len(bank.embeddings.offsets) == 3
    some = np.array([0, 3, vectors.GROUP - 1, vectors.GROUP, count - 1, 5, 5])
    for stored in (bank.embeddings, pickle.loads(pickle.dumps(bank.embeddings))):
        np.testing.assert_array_equal(stored.take(some), rows[some])
        assert stored.take([]).shape == (0, 8)
    np.testing.assert_array_equal(np.concatenate(list(bank.embeddings.blocks())), rows)
    # It stays a table that any reader of Parquet reads.
    column = pq.read_table(tmp_path / "bank.parquet")["embedding"].combine_chunks()
    np.testing.assert_array_equal(column.flatten().to_numpy().reshape(-1, 8), rows)


def test_on_s3_a_bank_is_the_same(s3, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)
    bank = banks.write(f"{s3.place}/banks/one.parquet", made(rows))
    assert bank == banks.read(f"{s3.place}/banks/one.parquet") and isinstance(bank.embeddings, vectors.Stored)
    np.testing.assert_array_equal(bank.embeddings.take([8, 0]), rows[[8, 0]])
    assert bank.table == banks.write(tmp_path / "one.parquet", made(rows)).table
    with pytest.raises(BankError, match=f"{s3.place}/none.parquet: there is no teacher bank"):
        banks.read(f"{s3.place}/none.parquet")


def test_a_bank_as_older_versions_laid_it_out_is_read_into_memory(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    rows[7] = np.nan
    after = banks.write(tmp_path / "bank.parquet", made(rows))
    table = pq.read_table(tmp_path / "bank.parquet")
    lists = pa.array([None if np.isnan(row).any() else row for row in rows], pa.list_(pa.float32()))
    older = table.set_column(3, pa.field("embedding", lists.type), lists).replace_schema_metadata(table.schema.metadata)
    for page in (64, 1 << 20):
        pq.write_table(older, tmp_path / "older.parquet", compression="none", use_dictionary=False, data_page_size=page)
        before = banks.read(tmp_path / "older.parquet")
        assert isinstance(before.embeddings, vectors.InMemory) and before.table == after.table
        np.testing.assert_array_equal(before.matrix(), rows)


def test_a_bank_that_is_written_anew_while_it_is_drawn_from_is_noticed(tmp_path: Path) -> None:
    bank = banks.write(tmp_path / "bank.parquet", made(np.ones((4, 3), np.float32)))
    banks.write(tmp_path / "bank.parquet", made(np.ones((5, 3), np.float32)))
    with pytest.raises(BankError, match="written anew"):
        bank.embeddings.take([0])


def test_what_is_not_a_bank_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="vgsr teach"):
        banks.read(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(BankError, match="damaged"):
        banks.read(tmp_path / "text.parquet")
    pq.write_table(faces(2), tmp_path / "faces.parquet")
    with pytest.raises(BankError, match="not a teacher bank"):
        banks.read(tmp_path / "faces.parquet")


def test_a_bank_of_another_version_says_what_to_do(tmp_path: Path) -> None:
    banks.write(tmp_path / "bank.parquet", made(np.ones((2, 3), np.float32)))
    table = pq.read_table(tmp_path / "bank.parquet").drop_columns(["face_pose", "face_agreement"])
    pq.write_table(table, tmp_path / "bank.parquet")
    with pytest.raises(BankError, match=r"another version.*teach again"):
        banks.read(tmp_path / "bank.parquet")


def test_import_lines_up_with_the_manifest(
    pictures: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["face-9", "face-0", "stranger", "face-4", "face-5"]
    vectors = np.arange(1, 11, dtype=np.float64).reshape(5, 2)
    vectors[3], vectors[4, 0] = 0, np.inf
    np.save(tmp_path / "e.npy", vectors)
    (tmp_path / "ids.txt").write_text("\n".join(names) + "\n")
    pq.write_table(pa.table({"embedding": list(vectors), "face_id": names}), tmp_path / "e.parquet")
    with caplog.at_level(logging.WARNING):
        one = banks.import_embeddings(tmp_path / "e.npy", pictures, ids=tmp_path / "ids.txt")
    assert "stranger" in caplog.text
    other = banks.import_embeddings(tmp_path / "e.parquet", pictures)
    expected = np.full((10, 2), np.nan, np.float32)
    expected[[9, 0]] = vectors[:2]
    for found, source in ((one, "e.npy"), (other, "e.parquet")):
        assert found.table["face_id"].equals(pictures.faces["face_id"])
        np.testing.assert_array_equal(found.matrix(), expected)
        problems = found.table["problem"].to_pylist()
        assert problems[0] is None and problems[1] == f"not in {source}"
        assert problems[4] == problems[5] == "embedding is zero or not finite"
        assert found.manifest_digest == pictures.digest and len(found.digest) == 64


@pytest.mark.parametrize(
    ("vectors", "names", "said"),
    [
        (np.ones((2, 3)), ["face-0"], "2 embeddings but 1 ids"),
        (np.ones((2, 3)), ["face-0", "face-0"], "more than once: face-0"),
        (np.ones((2, 3)), ["a.jpg", "b.jpg"], "none of its 2 face ids"),
        (np.ones(3), ["face-0", "face-1", "face-2"], r"not floats \[faces, dimension\]"),
        (np.array([{"a": 1}], dtype=object), ["face-0"], "unreadable"),
    ],
)
def test_import_refuses_what_cannot_be_meant(
    pictures: Manifest, tmp_path: Path, vectors: np.ndarray, names: list[str], said: str
) -> None:
    np.save(tmp_path / "e.npy", vectors, allow_pickle=True)
    (tmp_path / "ids.txt").write_text("\n".join(names))
    with pytest.raises(BankError, match=said):
        banks.import_embeddings(tmp_path / "e.npy", pictures, ids=tmp_path / "ids.txt")


def test_import_of_other_files_is_refused(pictures: Manifest, tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.ones((2, 3)))
    with pytest.raises(BankError, match="needs `ids`"):
        banks.import_embeddings(tmp_path / "e.npy", pictures)
    pq.write_table(pa.table({"face_id": ["face-0", "face-1"], "embedding": [[1.0], [1.0, 2]]}), tmp_path / "r.parquet")
    with pytest.raises(BankError, match="2 different lengths"):
        banks.import_embeddings(tmp_path / "r.parquet", pictures)
    (tmp_path / "e.csv").write_text("face_id,embedding")
    with pytest.raises(BankError, match=r"not \.npy, nor Parquet"):
        banks.import_embeddings(tmp_path / "e.csv", pictures)
