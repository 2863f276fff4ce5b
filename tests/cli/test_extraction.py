"""Commands that work on whole corpora, as a person types them, in this process: what they say, and where things go."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from vgsr.cli import extraction
from vgsr.data import manifest as manifests
from vgsr.teachers import bank as banks


@pytest.fixture
def corpus(tiny, tmp_path):
    """The tiny corpus, to be written to."""
    return shutil.copytree(tiny, tmp_path / "corpus")


def test_embed_and_evaluate_its_file(vgsr, corpus, checkpoint):
    status, said = vgsr("embed", checkpoint, corpus)
    (file,) = (corpus / "embeddings").iterdir()
    assert status == 0 and f"48 utterances embedded → {file}" in said
    status, said = vgsr("evaluate", checkpoint, corpus, "--scores", f"file={file}", "--trials", "test")
    own, other = (line.split("│")[2:5] for line in said.splitlines() if line.startswith("│ "))
    assert status == 0 and own == other


def test_measure_says_what_was_measured_and_that_the_digest_changed(vgsr, corpus):
    digest = manifests.read(corpus).digest
    status, said = vgsr("measure", corpus)
    assert status == 0 and f"digest {digest[:12]} (unchanged)" in said
    for line, count in (("speech_snr", "48"), ("speech_clipping", "48"), ("speech_dnsmos", "0")):
        assert any(line in row and row.split("│")[2].strip() == count for row in said.splitlines())
    train = manifests.read(corpus).split("train").to_pylist()[0]
    (corpus / train["uri"]).write_bytes(b"")
    status, said = vgsr("measure", corpus)
    changed = manifests.read(corpus).digest
    assert status == 0 and changed != digest and f"digest {changed[:12]} (was {digest[:12]})" in said
    assert train["uri"] in said and "empty file" in said


def test_what_trials_need_is_an_error_of_one_line(vgsr, corpus):
    test = manifests.read(corpus).split("test").to_pylist()[0]
    (corpus / test["uri"]).write_bytes(b"")
    status, said = vgsr("measure", corpus)
    assert status == 2 and test["utterance_id"] in said and "Traceback" not in said


def test_teach_imports_embeddings(vgsr, corpus, tmp_path):
    faces = manifests.read(corpus).faces["face_id"].to_pylist()
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).standard_normal((len(faces), 4)).astype(np.float32))
    (tmp_path / "ids.txt").write_text("\n".join(faces))
    status, said = vgsr("teach", corpus, "--embeddings", tmp_path / "mine.npy", "--ids", tmp_path / "ids.txt")
    place = corpus / "banks" / "mine.parquet"
    assert status == 0 and f"{len(faces)} of {len(faces)} faces embedded → {place}" in said
    assert "synthetic/test" in said and banks.read(place).dimension == 4
    assert pq.read_schema(place).names[0] == "face_id"


def test_actors_follow_what_is_asked_then_the_cluster_that_is_named(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert [extraction._actors(asked, False) for asked in (None, 0, 3)] == [0, 0, 3]
    monkeypatch.setenv("RAY_ADDRESS", "a cluster")
    monkeypatch.setattr("vgsr.extraction.pool.room", lambda gpu: 7 if gpu else 16)
    assert [extraction._actors(None, gpu) for gpu in (False, True)] == [16, 7]
    assert extraction._actors(0, False) == 0  # asked for: in this process, whatever there is
