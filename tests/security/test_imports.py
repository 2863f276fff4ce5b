"""Somebody else's published checkpoint: nothing in it is run, and nothing is made larger than it is."""

import pickle
import zipfile

import pytest
import torch

from vgsr.speaker.importing import import_checkpoint
from vgsr.training.state import CheckpointError


def refused(file, match):
    out = file.parent / "out"
    with pytest.raises(CheckpointError, match=match) as said:
        import_checkpoint("wespeaker", file, out)
    assert str(file) in str(said.value) and len(str(said.value)) < 1000 and not out.exists()
    assert "weights_only" not in str(said.value)  # torch's own message says how to run it


def test_code_is_refused_unrun(tmp_path, bomb):
    file = tmp_path / "avg_model.pt"
    for content in (bomb, {"layer1.conv.weight": bomb}, {"state_dict": {"x": torch.zeros(1), "y": bomb}}):
        torch.save(content, file)
        refused(file, "refused, and nothing in it was run.*system")
    file.write_bytes(pickle.dumps(bomb))
    refused(file, "damaged, or not written by torch.save")


def test_a_scripted_model_is_refused(tmp_path):
    file = tmp_path / "final.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(file))
    refused(file, "final.pt: ")


def test_what_claims_more_than_there_is(tmp_path, bounded):
    file = tmp_path / "avg_model.pt"
    with bounded():
        torch.save({"layer2.se_res2block.0": torch.zeros(1).expand(1 << 40)}, file)
        refused(file, "not all there")
        torch.save({"layer2.se_res2block.0": torch.zeros(0, 1 << 40)}, file)
        refused(file, "no ecapa of WeSpeaker")
        names = {
            name: torch.zeros(0).reshape(shape)
            for name, shape in (
                ("layer2.se_res2block.0.conv.weight", (0,)),
                ("layer1.conv.weight", (1 << 15, 0)),
                ("linear.weight", (1 << 15, 0)),
                ("pool.linear1.weight", (0, 1, 1)),
                ("pool.linear1.bias", (0,)),
                ("pool.linear2.weight", (1 << 15, 0)),
            )
        }
        torch.save(names, file)
        refused(file, "WeSpeaker")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data.pkl", b"\0" * (64 << 20))
        refused(file, "compressed archive")
