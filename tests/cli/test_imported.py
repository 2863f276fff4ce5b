"""`vgsr import` and what may be done with what it writes, as a person types it."""

import pytest
import torch
import yaml

from ..students import theirs


@pytest.fixture
def checkpoint(tmp_path):
    net = theirs.Drawn()
    theirs.wespeaker_ecapa(net, torch.zeros(1, 50, 80), 8, 16)
    torch.save({**net.state, "projection.weight": torch.ones(3, 16)}, tmp_path / "avg_model.pt")
    return tmp_path / "avg_model.pt"


def test_from_a_published_file_to_figures_and_a_start(vgsr, checkpoint, tiny, tmp_path):
    out = tmp_path / "pretrained"
    status, said = vgsr("import", "wespeaker", checkpoint, out, "--backbone", "ecapa")
    assert status == 0 and f"{out}: ecapa_wespeaker, " in said and "M parameters" in said
    assert "left out, as training alone needs them: projection.weight" in said
    assert "no calibration" in said and "Povey" not in said

    status, said_of_it = vgsr("evaluate", out, tiny)
    assert status == 0 and "warning: pretrained has learnt from people whom nobody here knows" in said_of_it
    assert "(weights of WeSpeaker)" in said_of_it and "not calibrated" in said_of_it and "–" in said_of_it
    status, told = vgsr("embed", out, tiny, "--out", tmp_path / "e.parquet")
    assert status == 0 and "utterances embedded" in told

    student = yaml.safe_load(said[said.rindex("student: {") :])["student"]
    assert student["start"] == str(out)
    values = {"name": "on", "corpus": {"manifest": str(tiny)}, "student": student}
    (tmp_path / "on.yaml").write_text(yaml.safe_dump(values))
    status, said = vgsr("validate", tmp_path / "on.yaml")
    assert status == 0 and f"starting from {out}" in said


def test_mistakes_are_one_message(vgsr, checkpoint, tmp_path):
    out = tmp_path / "out"
    for arguments, wanted in (
        (
            ["wespeaker", checkpoint, out, "--backbone", "resnet34"],
            "it is ecapa_wespeaker of WeSpeaker, not 'resnet34'",
        ),
        (["3dspeaker", checkpoint, out], "no network of 3D-Speaker that is known here"),
        (["wespeaker", tmp_path / "none.pt", out], "none.pt: no such file"),
    ):
        status, said = vgsr("import", *arguments)
        assert status == 2 and wanted in said and "Traceback" not in said and not out.exists()
    assert vgsr("import", "wespeaker", checkpoint, out)[0] == 0
    status, said = vgsr("verify", out, "a.wav", "b.wav")
    assert status == 2 and "without a calibration" in said
