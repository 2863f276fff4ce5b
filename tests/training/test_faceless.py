"""A corpus of speakers with and without faces: all of it trains, those with a face are taught, and it says how many."""

import json
import shutil

import numpy as np
import pytest
from rich.console import Console

from vgsr import corpora
from vgsr.config import ConfigError
from vgsr.data import manifest as manifests
from vgsr.teachers import bank as banks
from vgsr.training import check, local, loop, state
from vgsr.training.session import LocalSession

SIZES = {"speakers": 12, "sessions": 2, "utterances": 2, "validation": 0.25, "test": 0.25}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Four of its six training speakers have faces."""
    folder = tmp_path_factory.mktemp("mixed") / "corpus"
    corpora.prepare("synthetic", None, folder, faceless=0.5, **SIZES)
    return folder


@pytest.fixture
def experiment(tiny_experiment, mixed):
    def build(changes=None, folder=mixed):
        own = {"corpus.manifest": str(folder), "teacher.bank": str(folder / "banks" / "synthetic.parquet")}
        return tiny_experiment({**own, "train.epochs": 1, **(changes or {})})

    return build


def row_of(experiment, folder):
    rows = []
    loop.train(experiment, LocalSession(folder, rows.append))
    return rows[-1]


@pytest.mark.parametrize("method", ["cosine", "sp", "infonce", "centres", "dkd"])
def test_figures_are_of_the_rows_that_were_taught(experiment, mixed, tmp_path, caplog, method):
    """Batches of two: some have no face at all, some too few to compare; no warning, and no mean over nothing."""
    row = row_of(experiment({"train.batch": 2, "distill.method": method, "seed": 5}), tmp_path)
    json.dumps(row, allow_nan=False)
    train, seen = manifests.read(mixed).split("train"), banks.read(mixed / "banks" / "synthetic.parquet")
    with_face = np.isin(train["speaker"].to_pylist(), seen.table["speaker"].to_pylist())
    assert row["face_coverage"] == with_face.mean() and row["face_coverage_speakers"] == 4 / 6
    steps = {name: np.array(values) for name, values in row["steps"].items()}
    taught = steps["taught"]
    assert (taught == 0).any() and (steps["active"][taught == 0] == 0).all()
    if method in ("sp", "infonce"):
        assert set(taught) == {0, 1} and 0 < row["taught"] < with_face.mean()
    else:
        assert set(taught) == {0, 0.5, 1} and row["taught"] == pytest.approx(with_face.mean())
    for name in ("active", "discrepancy", "mu"):
        assert row[name] == pytest.approx(np.average(steps[name], weights=taught), abs=1e-12), name
    assert not [message for message in caplog.messages if "epoch" in message]


def test_an_epoch_that_teaches_nothing_says_why(experiment, mixed, tmp_path, caplog):
    """One recording of one speaker is all that has a face: a relation needs two in a batch."""
    folder = tmp_path / "corpus"
    shutil.copytree(mixed, folder)
    made, place = manifests.read(folder), folder / "banks" / "synthetic.parquet"
    bank = banks.read(place)
    train = made.split("train").to_pylist()
    speaker = next(row["speaker"] for row in train if row["speaker"] in bank.table["speaker"].to_pylist())
    vectors = np.array(bank.matrix())
    vectors[np.array(bank.table["speaker"].to_pylist()) != speaker] = np.nan
    banks.write(place, banks.build(made.faces, vectors, model="m", digest="d", manifest_digest=made.digest))
    for row in [row for row in train if row["speaker"] == speaker][1:]:
        (folder / row["uri"]).write_bytes(b"not audio any more")
    own = {"distill.method": "rkd_distance", "quality.signals": []}
    row = row_of(experiment(own, folder), tmp_path / "run")
    assert row["taught"] == row["active"] == row["distillation"] == 0 and np.isfinite(row["loss"])
    (said,) = [message for message in caplog.messages if "taught nothing" in message]
    assert "no batch had the 2 faces" in said and not any("switched off" in message for message in caplog.messages)
    with pytest.raises(ConfigError, match=r"kd.*1 of the 6 training speakers"):
        check.check(experiment({**own, "distill.method": "kd", "corpus.manifest": str(mixed)}, folder))


def test_a_person_is_told_on_what_share_it_acts(experiment, tmp_path):
    said = "a face for 66.7 % of the training utterances, 66.7 % of the speakers"
    assert any(said in line for line in check.check(experiment()).lines)
    with (tmp_path / "said.txt").open("w") as file:
        best = local.train(experiment(), tmp_path / "run", "cpu", Console(file=file, width=300))
    assert ", on 67 % of the utterances)" in (tmp_path / "said.txt").read_text()
    assert state.header(best)["face_coverage_speakers"] == pytest.approx(2 / 3)


def test_a_corpus_without_a_face_trains_without_a_teacher(experiment, tmp_path):
    folder = tmp_path / "corpus"
    report = corpora.prepare("synthetic", None, folder, faceless=1.0, **SIZES)
    assert report.bank is None and len(report.manifest.faces) == 0
    alone = experiment({"distill": {"method": "none"}, "quality.signals": ["speech_snr"]}, folder)
    check.check(alone)
    row = row_of(alone, tmp_path / "run")
    assert np.isfinite(row["loss"]) and "taught" not in row and "face_coverage" not in row
    empty = banks.build(report.manifest.faces, np.empty((0, 4), np.float32), model="m", digest="d", manifest_digest="x")
    banks.write(folder / "banks" / "synthetic.parquet", empty)
    with pytest.raises(ConfigError, match=r"has an embedding, so it can teach nobody; distill.method=none"):
        check.check(experiment({"quality.signals": []}, folder))
