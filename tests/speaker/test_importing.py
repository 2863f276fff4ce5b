"""An imported model: it embeds as its toolkit does, and does not claim what nobody knows of it."""

import json
import shutil

import onnx
import pytest
import torch

from vgsr import speaker
from vgsr.data import manifest as manifests
from vgsr.data.manifest import ManifestError
from vgsr.evaluation.system import Scoring
from vgsr.speaker import export, importing
from vgsr.speaker.evaluating import as_system
from vgsr.training.state import CheckpointError

from ..students import theirs


@pytest.fixture(scope="module")
def network():
    return theirs.Drawn()


@pytest.fixture(scope="module")
def imported(network, tmp_path_factory):
    """A model made of a file of WeSpeaker's ECAPA with random weights."""
    folder = tmp_path_factory.mktemp("theirs")
    theirs.wespeaker_ecapa(network, torch.zeros(1, 50, 80), 8, 12)
    torch.save({**network.state, "projection.weight": torch.ones(3, 12)}, folder / "avg_model.pt")
    return importing.import_checkpoint("wespeaker", folder / "avg_model.pt", folder / "a model", "ecapa")


def test_it_embeds_as_theirs_does_from_our_features(imported, network, spoken):
    model, wave = speaker.load(imported.folder), spoken(0)
    wanted = theirs.wespeaker_ecapa(network, model.fbank(torch.from_numpy(wave)[None]), 8, 12)[0]
    torch.testing.assert_close(torch.from_numpy(model.embed(wave)), wanted, rtol=1e-3, atol=1e-4)


def test_it_says_what_it_is(imported):
    facts = json.loads((imported.folder / "checkpoint.json").read_text())
    assert facts["calibration"] is None and facts["imported"]["file"] == "avg_model.pt"
    assert facts["imported"]["left_out"] == ["projection.weight"] == list(imported.left_out)
    model = speaker.load(imported.folder)
    assert (model.imported, model.before, model.training_speakers) == (True, "WeSpeaker", frozenset())
    assert model.experiment.name == "a-model" and imported.parameters == sum(
        parameter.numel() for parameter in model.student.parameters()
    )


def test_who_was_before_is_kept_by_what_starts_from_it(untrained, tmp_path):
    folder = untrained(folder=tmp_path / "on")
    assert speaker.load(folder).before is None
    text = (folder / "experiment.yaml").read_text()
    (folder / "experiment.yaml").write_text(text.replace("start: null", "start: /models/camp"))
    assert speaker.load(folder).before == "/models/camp"


def test_it_decides_nothing(imported, spoken):
    model = speaker.load(imported.folder)
    for p_target in (None, 0.5):
        with pytest.raises(CheckpointError, match="imported from WeSpeaker without a calibration"):
            model.verify(spoken(0), spoken(1), p_target)
    assert abs(model.score_trials([(spoken(0), spoken(0, take=1))])[0]) <= 1


def test_its_figures_are_of_plain_cosines(imported, tiny):
    model, corpus = speaker.load(imported.folder), manifests.read(tiny)
    for one in speaker.evaluate(model, corpus):
        assert one.result.cllr is None and not one.result.act_dcf
        assert "not calibrated" in one.result.protocol.line()


def test_other_scores_need_to_be_told_whose_background(imported, tiny):
    model, corpus = speaker.load(imported.folder), manifests.read(tiny)
    with pytest.raises(ManifestError, match=r"nobody knows the corpus .* --background"):
        as_system(model, Scoring("mean"))
    found = speaker.evaluate(model, corpus, scorer=as_system(model, Scoring("mean"), corpus))
    assert all(one.result.cllr is not None for one in found)


def test_it_is_exported_without_a_calibration(imported, tmp_path):
    export.export(speaker.load(imported.folder), tmp_path / "model.onnx")
    names = {entry.key for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert "model_digest" in names and not any("calibration" in name or "threshold" in name for name in names)


def test_nothing_is_written_over_and_nothing_half(imported, network, tmp_path):
    file = tmp_path / "x.pt"
    torch.save(network.state, file)
    with pytest.raises(CheckpointError, match="is there already"):
        importing.import_checkpoint("wespeaker", file, imported.folder)
    with pytest.raises(CheckpointError, match=r"x\.pt: it is ecapa_wespeaker"):
        importing.import_checkpoint("wespeaker", file, tmp_path / "out", "campplus")
    with pytest.raises(CheckpointError, match="no such file"):
        importing.import_checkpoint("wespeaker", tmp_path / "none.pt", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


@pytest.mark.parametrize("whose", [None, [], {"toolkit": 3, "sha256": ""}])
def test_a_header_that_does_not_say_whose_it_is(imported, tmp_path, whose):
    copy = tmp_path / "copy"
    shutil.copytree(imported.folder, copy)
    facts = json.loads((copy / "checkpoint.json").read_text())
    (copy / "checkpoint.json").write_text(json.dumps({**facts, "imported": whose}))
    with pytest.raises(CheckpointError, match="does not say what was imported"):
        speaker.load(copy)
