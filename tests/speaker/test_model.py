"""The finished model: the checkpoint's own student, calibrated, and careful about what it is asked."""

import re
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
from vgsr.speaker import judging
from vgsr.training import loop, state
from vgsr.training.session import LocalSession


def test_figures_are_those_of_embedding_pair_by_pair(checkpoint, tiny):
    model, corpus = speaker.load(checkpoint), manifest.read(tiny)
    (tested,) = speaker.evaluate(model, corpus)
    result = tested.result
    uri = dict(zip(*(corpus.utterances[name].to_pylist() for name in ("utterance_id", "uri")), strict=True))
    table = corpus.trials["test"].to_pylist()
    scores = [model.verify(corpus.file(uri[row["enrol"]]), corpus.file(uri[row["test"]])).score for row in table[:200]]
    if len(table) <= 200:
        assert result.eer == pytest.approx(eer(scores, [row["label"] for row in table]).value, abs=1e-9)
    assert result.targets + result.nontargets == len(table)
    assert "SYNTHETIC" in result.line() and "synthetic/test" in result.line() and f"{len(table):,}" in result.line()


def test_validation_figures_come_back(checkpoint, tiny):
    model = speaker.load(checkpoint)
    (tested,) = speaker.evaluate(model, manifest.read(tiny), ["validation"])
    result = tested.result
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


def test_a_threshold_has_the_prior_by_which_bayes_would_choose_it(checkpoint, tiny):
    model, corpus = speaker.load(checkpoint), manifest.read(tiny)
    one, other = (corpus.file(uri) for uri in corpus.split("test")["uri"].to_pylist()[:2])
    assert model.verify(one, other, p_target=0.03).prior == pytest.approx(0.03)
    equal = model.verify(one, other)
    assert model.verify(one, other, p_target=equal.prior).threshold == pytest.approx(equal.threshold)


def test_what_cannot_be_judged_has_a_score_and_no_verdict(model, spoken, tmp_path):
    wave = spoken(1)
    short = np.concatenate([wave[:9600], np.zeros(16000, np.float32)])
    soundfile.write(tmp_path / "b.wav", short, 16000)
    decision = model.verify(wave, tmp_path / "b.wav")
    assert decision.score == model.score_trials([(wave, short)])[0]
    assert decision.llr == pytest.approx(10 * decision.score - 5)
    assert decision.verdict == f"cannot judge: {tmp_path}/b.wav has {judging.examine(short).problem}"
    both = model.verify(short, wave + np.random.default_rng(0).normal(0, wave.std(), len(wave)))
    assert re.search("the first array has 0.*; the second array has an estimated SNR of", both.verdict)
    clipped = model.verify(wave, np.clip(wave, -0.02, 0.02))
    assert clipped.verdict in ("same speaker", "different speakers")
    assert clipped.remarks == ("the second array is clipped: its loudest samples are cut off",)


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


def test_damaged_weights_are_told(untrained):
    folder = untrained()
    whole = (folder / "student.safetensors").read_bytes()
    (folder / "student.safetensors").write_bytes(whole[:1000])
    with pytest.raises(state.CheckpointError, match="damaged"):
        speaker.load(folder)
    (folder / "student.safetensors").unlink()
    with pytest.raises(state.CheckpointError, match=re.escape(str(folder))):
        speaker.load(folder)


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
    with pytest.raises(state.CheckpointError, match=r"training\.pt: refused, and nothing in it was run"):
        loop.train(speaker.load(checkpoint).experiment, LocalSession(tmp_path / "run"))
