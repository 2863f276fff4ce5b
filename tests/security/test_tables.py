"""Files of scores, embeddings, people, conditions and teachers that somebody else has made."""

import io
import json
import pickle
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vgsr.data.manifest import Manifest
from vgsr.evaluation import condition_file, embedding_files, peers, score_files
from vgsr.evaluation.condition_file import ConditionsError
from vgsr.evaluation.embedding_files import EmbeddingFileError
from vgsr.evaluation.score_files import ScoreFileError
from vgsr.speaker import gallery
from vgsr.speaker.gallery import GalleryError
from vgsr.teachers import bank
from vgsr.teachers.bank import BankError

READERS = [
    (score_files.read, ScoreFileError),
    (embedding_files.read_embeddings, EmbeddingFileError),
    (gallery.read, GalleryError),
    (bank.read, BankError),
    (condition_file._read, ConditionsError),
    (peers.holds_embeddings, ScoreFileError),
]


@pytest.fixture
def hostile(tmp_path, bomb):
    """Parquet files that are none, or stand for more than they are."""
    rows = {name: pa.nulls(5_000_000, pa.float64()) for name in ("enrol", "test", "score")}
    files = {
        "pickle": pickle.dumps(bomb),
        "empty": b"",
        "cut": b"PAR1" + b"\xff" * 100 + b"\xff\xff\xff\x7fPAR1",
    }
    for name, content in files.items():
        (tmp_path / f"{name}.parquet").write_bytes(content)
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet", row_group_size=5_000_000)
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * (1 << 20)]))
    names = ("enrol", "test", "utterance_id", "embedding")
    wide = pa.table({name: text for name in names} | {"score": np.zeros(100_000)})
    deep = {key: b"[" * 200_000 for key in (b"vgsr.gallery", b"vgsr.bank", b"vgsr.conditions")}
    pq.write_table(wide, tmp_path / "wide.parquet", store_schema=False, dictionary_pagesize_limit=1 << 24)
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata(deep), tmp_path / "deep.parquet")
    return tmp_path


@pytest.mark.parametrize(("read", "error"), READERS)
def test_hostile_tables_are_refused(hostile, bounded, read, error):
    for name in ("pickle", "empty", "cut", "rows", "wide", "deep"):
        file = hostile / f"{name}.parquet"
        if read is peers.holds_embeddings and name in ("wide", "deep"):
            continue  # it looks at names of columns, which these have
        with bounded(), pytest.raises(error, match=str(file)) as said:
            read(file)
        assert len(str(said.value)) < 2000


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"dimension": 10**9}, "embeddings of 1000000000 numbers"),
        ({"dimension": -1}, "embeddings of -1"),
        ({"dimension": "4"}, "embeddings of 4"),
        ({"dimension": True}, "embeddings of True"),
        ({"digest": ["x"]}, "no text"),
        ({"dimension": 8}, "damaged|columns"),
    ],
)
def test_a_bank_that_says_other_things_of_itself(tmp_path, bounded, header, said):
    faces = pa.table({name: pa.array(["a", "b"]) for name in ("face_id", "speaker", "session")})
    made = bank.build(faces, np.eye(2, 4, dtype=np.float32), model="m", digest="d", manifest_digest="x")
    bank.write(tmp_path / "bank.parquet", made)
    table = pq.read_table(tmp_path / "bank.parquet")
    facts = json.loads(table.schema.metadata[b"vgsr.bank"]) | header
    pq.write_table(table.replace_schema_metadata({"vgsr.bank": json.dumps(facts)}), tmp_path / "bank.parquet")
    with bounded(), pytest.raises(BankError, match=rf"bank\.parquet: .*({said})"):
        bank.read(tmp_path / "bank.parquet").matrix()


def archive(file, **members):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name if name != "out" else "../../escaped.npy", content)


def npy(array=None, header=None):
    target = io.BytesIO()
    if header is not None:
        np.lib.format.write_array_header_1_0(target, header)
    else:
        np.save(target, array)
    return target.getvalue()


def test_arrays_of_objects_are_not_unpickled(tmp_path, bomb):
    np.savez(tmp_path / "a.npz", ids=np.array([bomb], object), embeddings=np.zeros((1, 2)))
    with pytest.raises(EmbeddingFileError, match=r"a\.npz: cannot be read"):
        embedding_files.read_embeddings(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(pickle.dumps(bomb))
    with pytest.raises(EmbeddingFileError, match=r"b\.npz: cannot be read"):
        embedding_files.read_embeddings(tmp_path / "b.npz")
    np.save(tmp_path / "c.npy", np.array([bomb], object))
    (tmp_path / "ids.txt").write_text("a\n")
    nobody = Manifest(str(tmp_path), ".", "c", False, "0" * 64, {}, None)
    with pytest.raises(BankError, match=r"c\.npy with ids .*: unreadable"):
        bank.import_embeddings(tmp_path / "c.npy", nobody, ids=tmp_path / "ids.txt")


def test_archives_that_unpack_to_more_than_they_are(tmp_path, bounded):
    ids = npy(np.array(["a"]))
    claims = npy(header={"descr": "<f4", "fortran_order": False, "shape": (1, 1 << 40)})
    cases = {
        "and is not so long": {"ids.npy": ids, "embeddings.npy": claims},
        "more than is believed": {"ids.npy": ids, "embeddings.npy": bytes(128 << 20)},
        "cannot be read": {"out": ids, "embeddings.npy": b"not an array"},
    }
    for number, (said, members) in enumerate(cases.items()):
        file = tmp_path / f"{number}.npz"
        archive(file, **members)
        with bounded(), pytest.raises(EmbeddingFileError, match=rf"{number}\.npz: .*{said}"):
            embedding_files.read_embeddings(file)
    assert not list(tmp_path.rglob("escaped*"))


@pytest.mark.parametrize(
    "content", [b"a \0BFV \4\xff\xff\xff\x7f", b"a \0BFV \4\xff\xff\xff\xff", b"a [ " + b"1 " * 10, b"\x80\x04csystem"]
)
def test_archives_of_kaldi_that_end_too_early(tmp_path, bounded, content):
    (tmp_path / "a.ark").write_bytes(content)
    with bounded(100), pytest.raises(EmbeddingFileError, match=r"a\.ark: cannot be read"):
        embedding_files.read_embeddings(tmp_path / "a.ark")


def test_a_score_file_that_is_one_line(tmp_path, bounded):
    (tmp_path / "a.txt").write_bytes(b"x" * (8 << 20))
    with bounded(), pytest.raises(ScoreFileError, match=r"a\.txt, line 1") as said:
        score_files.read(tmp_path / "a.txt")
    assert len(str(said.value)) < 2000


def test_what_is_good_is_still_read(tmp_path):
    np.savez(tmp_path / "a.npz", ids=np.array(["a", "b"]), embeddings=np.eye(2, dtype=np.float32))
    ids, vectors = embedding_files.read_embeddings(tmp_path / "a.npz")
    assert ids == ["a", "b"] and vectors.shape == (2, 2)
    table = pa.table({"enrol": pa.array(["a", "b"]).dictionary_encode(), "test": ["x", "y"], "score": [1, 2]})
    pq.write_table(table, tmp_path / "s.parquet")
    assert score_files.read(tmp_path / "s.parquet")["enrol"].to_pylist() == ["a", "b"]
