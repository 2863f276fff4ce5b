"""Somebody else's checkpoint: nothing in it is run, nothing outside it is read, nothing is made larger than it is."""

import json
import os
import pickle
import shutil
import struct
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from vgsr import config, speaker
from vgsr.fetch import FetchError
from vgsr.fetch import checkpoint as fetched
from vgsr.training import checkpoint_files, loop
from vgsr.training.session import LocalSession
from vgsr.training.state import CheckpointError


@pytest.fixture
def copy(untrained, tmp_path):
    """A checkpoint that a test may spoil."""
    return untrained(folder=tmp_path / "downloaded")


def refused(folder, match):
    with pytest.raises((CheckpointError, config.ConfigError), match=match) as said:
        speaker.load(folder)
    assert str(folder) in str(said.value) and len(str(said.value)) < 1000


def safetensors(header, rest=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (struct.pack("<Q", 2**60) + b"{}", "damaged"),
        (safetensors({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}), "damaged"),
        (safetensors({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8), "tensors differ"),
        (safetensors({"\x1b[2J\n": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8), r"\\x1b"),
        (b"", "damaged"),
    ],
)
def test_weights_that_claim_what_is_not_there(copy, bounded, content, said):
    (copy / "student.safetensors").write_bytes(content)
    with bounded(300):
        refused(copy, rf"student\.safetensors: .*{said}")


def test_a_pickle_under_another_name_is_not_loaded(copy, bomb):
    (copy / "student.safetensors").write_bytes(pickle.dumps(bomb))
    refused(copy, r"student\.safetensors: damaged")


@pytest.mark.parametrize(("channels", "said"), [(1000, "tensors differ"), (65536, "tensors differ"), (10**9, "65536")])
def test_an_experiment_that_asks_for_a_huge_student_is_held_against_the_file_first(copy, bounded, channels, said):
    text = (copy / "experiment.yaml").read_text()
    (copy / "experiment.yaml").write_text(text.replace("channels: 8", f"channels: {channels}"))
    with bounded(300):
        refused(copy, said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "no mapping"),
        ('{"format": 2, "row": [], "calibration": {}}', "row"),
        ('{"format": {"a": "' + "x" * 1000 + '"}}', "checkpoint format"),
        ('{"format": 2, "calibration": {"scale": "1"}}', "no number"),
        ('{"format": 2, "calibration": {"scale": NaN, "offset": 0}, "eer_threshold": 0}', "no number"),
        ('{"format": 2, "calibration": {"scale": 1, "offset": 0}, "eer_threshold": 1, "corpus": []}', "corpus"),
    ],
)
def test_a_header_of_other_things(copy, content, said):
    (copy / "checkpoint.json").write_text(content)
    refused(copy, said)


def test_huge_texts_are_not_read(copy, bounded):
    for name in ("checkpoint.json", "speakers.txt"):
        kept = (copy / name).read_bytes()
        with (copy / name).open("wb") as huge:
            huge.truncate(1 << 40)
        with bounded(100):
            refused(copy, f"{name}: .*bytes")
        (copy / name).write_bytes(kept)


def test_names_with_control_characters(copy):
    (copy / "speakers.txt").write_text("anna\n\x1b]0;owned\x07\n")
    refused(copy, r"speakers\.txt: refused: control characters")


@pytest.mark.parametrize("name", ["checkpoint.json", "experiment.yaml", "speakers.txt", "student.safetensors"])
def test_links_out_of_the_folder_are_not_followed(copy, tmp_path, name):
    secret = tmp_path / "secret"
    shutil.move(copy / name, secret)  # even where it would be a fine file
    (copy / name).symlink_to(secret)
    refused(copy, f"{name}: refused: a link to .*secret, outside the checkpoint")
    (copy / name).unlink()
    os.mkfifo(copy / name)
    refused(copy, f"{name}: refused: not a file")


def resumed(checkpoint, tmp_path, change):
    run = tmp_path / "run"
    place = run / "checkpoints" / checkpoint.name
    shutil.copytree(checkpoint, place)
    change(place)
    with pytest.raises(CheckpointError, match=str(run)) as said:
        loop.train(speaker.load(checkpoint).experiment, LocalSession(run))
    return str(said.value)


def test_a_training_state_with_code_in_it_is_refused_unrun(checkpoint, tmp_path, bomb):
    said = resumed(checkpoint, tmp_path, lambda place: torch.save({"x": bomb}, place / "training.pt"))
    assert "training.pt: refused, and nothing in it was run" in said and "system" in said
    assert "weights_only" not in said  # torch's own message says how to run it


def test_other_training_states_are_refused(checkpoint, tmp_path, bomb, bounded):
    wide = torch.zeros(1).expand(1 << 40)
    deep: list = []
    for _ in range(50):
        deep = [deep]

    def packed(place):
        with zipfile.ZipFile(place / "training.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("../../escaped", b"\0" * (64 << 20))

    def archived(value):
        return lambda place: torch.save(value, place / "training.pt")

    cases = {
        "damaged, or not written": lambda place: (place / "training.pt").write_bytes(pickle.dumps(bomb)),
        "a compressed archive": packed,
        "not all there": archived({"objective": {"w": wide}}),
        "nested deeper": archived({"position": deep}),
        "no mapping": archived([1, 2]),
        "another experiment": archived({"experiment": "x" * 1000}),
    }
    with bounded():
        for number, (match, change) in enumerate(cases.items()):
            assert match in resumed(checkpoint, tmp_path / str(number), change)
    assert not list(tmp_path.rglob("escaped"))


def test_a_position_that_names_another_folder(checkpoint, tmp_path):
    def change(place):
        saved = torch.load(place / "training.pt", weights_only=True)
        saved["position"]["best_checkpoint"] = "../../../victim"
        torch.save(saved, place / "training.pt")

    assert "a checkpoint is not called" in resumed(checkpoint, tmp_path, change)


def test_an_optimiser_of_another_shape(checkpoint, tmp_path):
    def change(place):
        saved = torch.load(place / "training.pt", weights_only=True)
        saved["optimiser"]["state"][0]["exp_avg"] = torch.zeros(3)
        torch.save(saved, place / "training.pt")

    assert "parameter 0 has another shape" in resumed(checkpoint, tmp_path, change)


def test_weights_of_another_shape(checkpoint, tmp_path):
    def change(place):
        weights = load_file(place / "heads.safetensors")
        save_file({name: tensor[:1] for name, tensor in weights.items()}, place / "heads.safetensors")

    assert "heads.safetensors: not the network" in resumed(checkpoint, tmp_path, change)


def test_the_best_checkpoint_of_a_run_is_one_of_its_own(copy, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(copy, run / "checkpoints" / "00001-000000")
    header = run / "checkpoints" / "00001-000000" / "checkpoint.json"
    facts = json.loads(header.read_text())
    for best in ("../../downloaded", str(copy), "00002-000000", ["x"]):
        header.write_text(json.dumps({**facts, "row": {"best_checkpoint": best}}))
        with pytest.raises(FetchError, match="is not there"):
            fetched(run)


def test_a_huge_text_on_s3_is_not_downloaded(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("VGSR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("vgsr.fetch.MOST_TEXT", 10)
    for name in ("checkpoint.json", "experiment.yaml", "speakers.txt", "student.safetensors"):
        s3.client.put_object(Bucket=s3.name, Key=f"c/{name}", Body=b"x" * 11)
    with pytest.raises(FetchError, match=r"refused: checkpoint\.json has 11 bytes"):
        fetched(f"{s3.place}/c")
    assert not (tmp_path / "home" / "fetched").exists()


def test_what_is_good_is_still_read(copy, checkpoint):
    assert speaker.load(copy).training_speakers == {"somebody"}
    assert checkpoint_files.training_state(checkpoint, torch.device("cpu"))["format"] == 2
