"""A home of its own for every test of places, and checkpoints and tracked runs to look for."""

import json

import pytest

from vgsr import tracking
from vgsr.training import state

from ..written import close_run, open_run


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """A home without a tracking store."""
    monkeypatch.setenv("VGSR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def write():
    """Writes the files of a checkpoint, as far as a place is concerned, into a new folder; returns it."""

    def make(folder, best="00001-000000"):
        folder.mkdir(parents=True)
        header = {"format": state.FORMAT, "row": {"best_checkpoint": best}}
        (folder / "checkpoint.json").write_text(json.dumps(header))
        for name in ("experiment.yaml", "speakers.txt", "student.safetensors", "heads.safetensors", "training.pt"):
            (folder / name).write_text(f"{name} of {folder.name}")
        return folder

    return make


@pytest.fixture
def contents():
    """The files of a folder: name → bytes."""
    return lambda folder: {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def tracked():
    """Makes an ended run whose checkpoint was written at a place; returns its id."""

    def make(tracker, trial, place="", name="", state=tracking.COMPLETED, search="cmp", **tags):
        tags = {**tags, **({"vgsr.checkpoint": str(place)} if place else {})}
        run = open_run(tracker, search=search, trial=trial, name=name or trial, tags=tags, experiment=None)
        close_run(tracker, run, state)
        return run

    return make
