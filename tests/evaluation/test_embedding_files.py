"""Embeddings of other systems, in each kind of file and with mistakes."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgsr.evaluation.embedding_files import EmbeddingFileError, read_embeddings

# Written by kaldiio 2.18.1 (WriteHelper "ark" and "ark,t"), with which WeSpeaker and 3D-Speaker write embeddings.
BINARY = (
    b"a \x00BFV \x04\x04\x00\x00\x00\x00\x00@@\x00\x00\x00@\x00\x00\x80\xbf\x00\x00\x80?"
    b"b \x00BFV \x04\x04\x00\x00\x00\x00\x00\x00@\x00\x00\x00@\x00\x00\x00\xc0\x00\x00\x00\x00"
)
TEXT = (
    "a  [ 1.0 0.6666666865348816 -0.3333333432674408 0.3333333432674408 ]\n"
    "b  [ 0.6666666865348816 0.6666666865348816 -0.6666666865348816 0.0 ]\n"
)
VALUES = np.array([[3, 2, -1, 1], [2, 2, -2, 0]], np.float32)


def test_kaldi_archives_are_read(tmp_path):
    (tmp_path / "xvector.ark").write_bytes(BINARY)
    ids, found = read_embeddings(tmp_path / "xvector.ark")
    assert ids == ["a", "b"]
    assert found.dtype == np.float32
    assert (found == VALUES).all()
    (tmp_path / "xvector.ark").write_text(f"{TEXT}\n \n")
    ids, found = read_embeddings(tmp_path / "xvector.ark")
    assert ids == ["a", "b"]
    assert (found == VALUES / np.float32(3)).all()


IDS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Z")), min_size=1)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_kind_of_file_gives_back_ids_and_values(tmp_path_factory, data):
    ids = data.draw(st.lists(IDS, min_size=1, max_size=5, unique=True))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    values = rng.normal(size=(len(ids), data.draw(st.integers(1, 6)))).astype(dtype)
    # Whitespace bytes at either end of an archive are part of its numbers.
    values[-1, -1] = np.frombuffer(data.draw(st.sampled_from([b"    \n\n\n\n", b"        "]))[:8], np.float64)[0]
    folder = tmp_path_factory.mktemp("embeddings")
    np.savez(folder / "e.npz", ids=np.array(ids), embeddings=values)
    kind, size = (b"FV ", 4) if dtype == np.float32 else (b"DV ", 8)
    head = b"\0B" + kind + b"\4" + int.to_bytes(values.shape[1], 4, "little")
    (folder / "e.ark").write_bytes(
        b"".join(name.encode() + b" " + head + row.tobytes() for name, row in zip(ids, values, strict=True))
    )
    assert values.itemsize == size
    lists = pa.array(values.tolist(), pa.list_(pa.from_numpy_dtype(dtype)))
    pq.write_table(pa.table({"utterance_id": ids, "embedding": lists}), folder / "e.parquet")
    text = "".join(f"{name}  [ {' '.join(map(repr, row))} ]\n" for name, row in zip(ids, values.tolist(), strict=True))
    for file in ("e.npz", "e.ark", "e.parquet", "text.ark"):
        (folder / "text.ark").write_text(text)
        names, found = read_embeddings(folder / file)
        assert names == ids
        assert found.dtype == np.float32
        assert (found == values.astype(np.float32)).all()


def test_lists_of_fixed_size_and_sliced_tables_are_read(tmp_path):
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(8, dtype=np.float32)), 2)
    table = pa.table({"utterance_id": list("abcd"), "embedding": lists}).slice(1, 2)
    pq.write_table(table, tmp_path / "e.parquet")
    ids, found = read_embeddings(tmp_path / "e.parquet")
    assert ids == ["b", "c"]
    assert found.tolist() == [[2.0, 3.0], [4.0, 5.0]]


def test_nothing_pickled_is_loaded(tmp_path):
    np.savez(tmp_path / "e.npz", ids=np.array(["a", "b"], dtype=object), embeddings=VALUES)
    with pytest.raises(EmbeddingFileError, match=r"e\.npz: cannot be read as embeddings \(Object arrays"):
        read_embeddings(tmp_path / "e.npz")


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"embeddings": VALUES}, "it lacks the array ids; it has embeddings"),
        ({"ids": np.array(["a", "b"])}, "it lacks the array embeddings; it has ids"),
        (
            {"ids": np.arange(2), "embeddings": VALUES},
            r"the array ids \(2,\) is of int64: expected a flat list of text",
        ),
        ({"ids": np.array(["a"]), "embeddings": VALUES}, r"embeddings \(2, 4\) for 1 ids"),
        ({"ids": np.array(["a", "a"]), "embeddings": VALUES}, "1 utterances have several embeddings: a"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays, problem):
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(EmbeddingFileError, match=problem):
        read_embeddings(tmp_path / "e.npz")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"id": ["a"]}, "it lacks the column utterance_id, embedding; it has id"),
        (
            {"utterance_id": ["a", "b"], "embedding": [[1.0], [1.0, 2.0]]},
            "the embedding of b has 2 numbers, that of a 1",
        ),
        ({"utterance_id": ["a", None], "embedding": [[1.0], [2.0]]}, "it has an empty cell"),
        (
            {"utterance_id": pa.array([], pa.string()), "embedding": pa.array([], pa.list_(pa.float32()))},
            "no embedding",
        ),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, table, problem):
    pq.write_table(pa.table(table), tmp_path / "e.parquet")
    with pytest.raises(EmbeddingFileError, match=problem):
        read_embeddings(tmp_path / "e.parquet")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it has no embedding"),
        (BINARY[:-3], "the vector of b ends too early"),
        (BINARY.replace(b"FV ", b"FM "), "a is no vector: archives of matrices"),
        (BINARY + b"c", "at byte 56 there is no id with a vector behind it"),
        (b"a  [ 1 2 ] 3\n", "at byte 0 there is no id with a vector behind it"),
        (b"a  [ 1 2 ]\nb  [ 1 ]\n", "the embedding of b has 1 numbers, that of a 2"),
        (b"a  [ 1 x ]\n", "could not convert string to float"),
        (b"a  [ 1 ]\na  [ 2 ]\n", "1 utterances have several embeddings: a"),
    ],
)
def test_archives_that_do_not_fit_are_refused(tmp_path, data, problem):
    (tmp_path / "e.ark").write_bytes(data)
    with pytest.raises(EmbeddingFileError, match=problem):
        read_embeddings(tmp_path / "e.ark")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(
        EmbeddingFileError, match=r"e\.pkl: embeddings are read from files named \.npz, \.parquet, \.ark"
    ):
        read_embeddings(tmp_path / "e.pkl")
    for name in ("e.npz", "e.parquet", "e.ark"):
        with pytest.raises(EmbeddingFileError, match="there is no such file"):
            read_embeddings(tmp_path / name)
    (tmp_path / "e.npz").write_bytes(b"no archive")
    with pytest.raises(EmbeddingFileError, match=r"e\.npz: cannot be read as embeddings"):
        read_embeddings(tmp_path / "e.npz")
