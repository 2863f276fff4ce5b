"""The finished model: the checkpoint's own student, calibrated, and careful about what it is asked."""

import pickle
import shutil

import numpy as np
import pytest
import soundfile
import torch

from vgsr import speaker
from vgsr.data import audio, manifest
from vgsr.data.audio import AudioError
from vgsr.data.manifest import ManifestError
from vgsr.evaluation.metrics import eer
from vgsr.training import loop, state
from vgsr.training.session import LocalSession


@pytest.fixture(scope="module")
def checkpoint(tiny, tmp_path_factory):
    from vgsr import config

    folder = tmp_path_factory.mktemp("run")
    values = {
        "name": "tiny",
        "corpus": {"manifest": str(tiny)},
        "student": {"channels": 8, "embedding": 16},
        "train": {"epochs": 2, "batch": 8, "crop_seconds": 0.5, "checkpoint_batches": 2},
    }
    last = loop.train(config.build(values), LocalSession(folder))
    return folder / "checkpoints" / last["best_checkpoint"]


def test_figures_are_those_of_embedding_pair_by_pair(checkpoint, tiny):
    model, corpus = speaker.load(checkpoint), manifest.read(tiny)
    (result,) = speaker.evaluate(model, corpus)
    uri = dict(zip(*(corpus.utterances[name].to_pylist() for name in ("utterance_id", "uri")), strict=True))
    table = corpus.trials["test"].to_pylist()
    scores = [model.verify(corpus.file(uri[row["enrol"]]), corpus.file(uri[row["test"]])).score for row in table[:200]]
    if len(table) <= 200:
        assert result.eer == pytest.approx(eer(scores, [row["label"] for row in table]).value, abs=1e-9)
    assert result.targets + result.nontargets == len(table)
    assert "SYNTHETIC" in result.line() and "synthetic/test" in result.line() and f"{len(table):,}" in result.line()


def test_validation_figures_come_back(checkpoint, tiny):
    model = speaker.load(checkpoint)
    (result,) = speaker.evaluate(model, manifest.read(tiny), ["validation"])
    assert result.eer == pytest.approx(model.facts["row"]["val_eer"], abs=1e-9)
    assert result.eer_threshold == pytest.approx(model.facts["eer_threshold"], abs=1e-6)


def test_a_decision_follows_its_threshold(checkpoint, tiny):
    model, corpus = speaker.load(checkpoint), manifest.read(tiny)
    one, other = (corpus.file(uri) for uri in corpus.split("test")["uri"].to_pylist()[:2])
    same = model.verify(one, one)
    assert same.score == pytest.approx(1, abs=1e-6) and same.accepted
    decision = model.verify(one, other)
    assert decision.accepted == (decision.score >= decision.threshold)
    strict = model.verify(one, other, p_target=0.001)
    assert strict.threshold > model.verify(one, other, p_target=0.5).threshold
    # At the Bayes threshold of prior 1/2 the likelihoods are equal.
    assert model.verify(one, other, p_target=0.5).accepted == (decision.llr >= 0)


def test_an_array_is_as_good_as_a_file(checkpoint, tiny):
    model, corpus = speaker.load(checkpoint), manifest.read(tiny)
    file = corpus.file(corpus.utterances["uri"][0].as_py())
    np.testing.assert_array_equal(model.embed(file), model.embed(audio.read(file)))


def test_too_short_is_said(checkpoint, tmp_path):
    soundfile.write(tmp_path / "short.wav", np.ones(1000) * 0.1, 16000)
    with pytest.raises(AudioError, match="too short"):
        speaker.load(checkpoint).embed(tmp_path / "short.wav")


def test_speakers_of_the_training_set_are_refused(checkpoint, tiny, tmp_path):
    corpus = manifest.read(tiny)
    rows = [{**row, "split": "test"} for row in corpus.utterances.to_pylist()]
    trained = [row for row in corpus.split("train").to_pylist()]
    a, b = (row["utterance_id"] for row in trained[:2])
    label = int(trained[0]["speaker"] == trained[1]["speaker"])
    leaky = manifest.write(
        tmp_path / "leaky",
        corpus="synthetic",
        root=tiny,
        synthetic=True,
        utterances=rows,
        faces=[],
        trials={"leak": [(label, a, b)]},
        problems=[],
    )
    with pytest.raises(ManifestError, match=trained[0]["speaker"]):
        speaker.evaluate(speaker.load(checkpoint), leaky, ["leak"])


def test_a_checkpoint_within_an_epoch_serves_to_resume_only(checkpoint, tmp_path):
    copy = tmp_path / "c"
    shutil.copytree(checkpoint, copy)
    facts = state.header(copy)
    del facts["calibration"]
    (copy / "checkpoint.json").write_text(__import__("json").dumps(facts))
    with pytest.raises(state.CheckpointError, match="to resume"):
        speaker.load(copy)


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(state.CheckpointError, match="not a checkpoint"):
        speaker.load(tmp_path)


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('code of a checkpoint was executed')",)


def test_no_code_of_a_checkpoint_is_executed(checkpoint, tmp_path, tiny_experiment):
    copy = tmp_path / "run" / "checkpoints" / checkpoint.name
    shutil.copytree(checkpoint, copy)
    torch.save({"format": 2, "bomb": Bomb()}, copy / "training.pt")
    speaker.load(copy)  # does not even read it
    with pytest.raises(pickle.UnpicklingError):
        loop.train(speaker.load(checkpoint).experiment, LocalSession(tmp_path / "run"))
