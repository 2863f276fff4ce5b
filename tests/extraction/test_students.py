"""Embedding a manifest gives what the model itself gives, in a file that another system's evaluation takes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from rich.console import Console

from vgsr import speaker
from vgsr.data import manifest as manifests
from vgsr.data import recordings
from vgsr.data.manifest import Manifest, ManifestError
from vgsr.evaluation import embedding, peers
from vgsr.evaluation.embedding_files import read_embeddings
from vgsr.evaluation.system import Scoring
from vgsr.extraction import parts, students
from vgsr.speaker import Speaker, evaluating

QUIET = Console(quiet=True)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", 16)


@pytest.fixture
def model(checkpoint: Path) -> Speaker:
    return speaker.load(checkpoint)


@pytest.fixture
def corpus(tiny: Path) -> Manifest:
    return manifests.read(tiny)


def test_embeddings_are_those_of_the_model(model: Speaker, corpus: Manifest, tmp_path: Path) -> None:
    out = str(tmp_path / "e.parquet")
    made = students.embed(model, corpus, out, console=QUIET)
    rows = corpus.utterances.to_pylist()
    assert (made.place, made.problems, made.count, made.lost) == (out, None, len(rows), [])
    table = pq.read_table(out)
    assert table.column_names == ["utterance_id", "speaker", "embedding"]
    for name in ("utterance_id", "speaker"):
        assert table[name].to_pylist() == [row[name] for row in rows]
    for row, vector in zip(rows[:5], table["embedding"].to_pylist(), strict=False):
        wave = recordings.read(corpus, row["uri"], row["start"], row["seconds"])
        np.testing.assert_array_equal(np.float32(vector), model.embed(wave))
    facts = json.loads(table.schema.metadata[b"vgsr.embeddings"])
    assert (facts["model_digest"], facts["manifest_digest"]) == (model.digest, corpus.digest)
    assert [path.name for path in tmp_path.iterdir()] == ["e.parquet"]


def test_evaluation_takes_the_file_and_finds_the_same_figures(model: Speaker, corpus: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "e.parquet"
    students.embed(model, corpus, str(out), console=QUIET)
    ids, vectors = read_embeddings(out)
    direct = embedding.embed(model.student, model.fbank, corpus, ids, model.device)
    np.testing.assert_array_equal(vectors, direct)
    (own,) = evaluating.evaluate(model, corpus, ["test"])
    (same,) = peers.evaluate(out, corpus, ["test"], Scoring(), corpus, (0.01, 0.05))
    assert (same.result.eer, same.result.min_dcf) == (own.result.eer, own.result.min_dcf)


def test_only_the_utterances_of_a_list(model: Speaker, corpus: Manifest, tmp_path: Path) -> None:
    out = str(tmp_path / "e.parquet")
    students.embed(model, corpus, out, lists=["test"], console=QUIET)
    assert read_embeddings(out)[0] == embedding.of_lists(corpus, ["test"])
    with pytest.raises(ManifestError, match="no trial list 'tset'"):
        students.embed(model, corpus, out, lists=["tset"], console=QUIET)


def test_what_cannot_be_embedded_lies_beside(model: Speaker, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "m")
    corpus = manifests.read(tmp_path / "m")
    short, broken, *_ = rows = corpus.utterances.to_pylist()
    soundfile.write(corpus.file(short["uri"]), np.ones(1600, np.float32) / 2, 16000)
    Path(corpus.file(broken["uri"])).write_bytes(b"")
    out = str(tmp_path / "e.parquet")
    made = students.embed(model, corpus, out, console=QUIET)
    assert made.count == len(rows) - 2 and made.problems == str(tmp_path / "e.problems.parquet")
    listed = pq.read_table(made.problems).to_pylist()
    assert [(row["utterance_id"], row["uri"]) for row in listed] == [
        (row["utterance_id"], row["uri"]) for row in (short, broken)
    ]
    assert "too short" in listed[0]["reason"] and listed[1]["reason"] == "empty file"
    assert made.lost == [(row["utterance_id"], row["reason"]) for row in listed]
    assert read_embeddings(out)[0] == [row["utterance_id"] for row in rows[2:]]


def test_a_finished_table_is_not_made_again_but_another_models_is(
    model: Speaker, corpus: Manifest, untrained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "e.parquet"
    first = students.embed(model, corpus, str(out), console=QUIET)
    before = out.read_bytes()
    monkeypatch.setattr(students.pool, "run", lambda *asked, **how: pytest.fail("embedded again"))
    assert students.embed(model, corpus, str(out), console=QUIET) == first
    monkeypatch.undo()
    students.embed(speaker.load(untrained(seed=3)), corpus, str(out), lists=["test"], console=QUIET)
    assert out.read_bytes() != before
    out.write_text("something else")
    students.embed(model, corpus, str(out), console=QUIET)
    assert out.read_bytes() == before


def test_an_interrupted_run_goes_on_and_ends_the_same(
    model: Speaker, corpus: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "e.parquet"
    students.embed(model, corpus, str(whole), console=QUIET)
    heard, read = [], recordings.read

    def stopping(manifest: Manifest, uri: str, *cut: float) -> np.ndarray:
        heard.append(uri)
        if len(heard) == 40:
            raise KeyboardInterrupt
        return read(manifest, uri, *cut)

    monkeypatch.setattr(recordings, "read", stopping)
    with pytest.raises(KeyboardInterrupt):
        students.embed(model, corpus, str(out), console=QUIET)
    assert not out.exists() and len(list((tmp_path / "e.parquet.parts").iterdir())) == 2
    students.embed(model, corpus, str(out), console=QUIET)
    assert out.read_bytes() == whole.read_bytes()
    assert len(heard) <= 40 + 16 + len(corpus.utterances) - 32  # what was done was not done again


def test_from_and_to_s3(model: Speaker, corpus: Manifest, tmp_path: Path, s3) -> None:  # type: ignore[no-untyped-def]
    there = manifests.write(
        f"{s3.place}/corpus",
        corpus=corpus.corpus,
        root=f"{s3.place}/data",
        synthetic=True,
        utterances=corpus.split("test"),
        faces=[],
        trials={"test": corpus.trials["test"]},
        problems=[],
    )
    for row in there.utterances.to_pylist():
        s3.client.upload_file(corpus.file(row["uri"]), s3.name, f"data/{row['uri']}")
    out = f"{s3.place}/out/e.parquet"
    made = students.embed(model, there, out, console=QUIET)
    assert made.place == out and made.count == len(there.utterances)
    s3.client.download_file(s3.name, "out/e.parquet", str(tmp_path / "e.parquet"))
    students.embed(model, corpus, str(tmp_path / "here.parquet"), lists=["test"], console=QUIET)
    for one, other in zip(
        read_embeddings(tmp_path / "e.parquet"), read_embeddings(tmp_path / "here.parquet"), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert {item["Key"] for item in s3.client.list_objects_v2(Bucket=s3.name, Prefix="out/")["Contents"]} == {
        "out/e.parquet"
    }
