"""A tracking store for all these tests, and a finished model to put into it."""

import pytest

from vgsr import config, tracking
from vgsr.training import loop
from vgsr.training.session import LocalSession


@pytest.fixture(scope="session")
def tracker(tmp_path_factory):
    return tracking.connect(f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}")


@pytest.fixture(scope="session")
def checkpoint(tiny, tmp_path_factory):
    """A checkpoint of a model that was trained for two epochs; its path has letters that URIs write otherwise."""
    folder = tmp_path_factory.mktemp("a run #1")
    values = {
        "name": "tiny",
        "corpus": {"manifest": str(tiny)},
        "student": {"channels": 8, "embedding": 16},
        "train": {"epochs": 2, "batch": 8, "crop_seconds": 0.5},
    }
    last = loop.train(config.build(values), LocalSession(folder))
    return folder / "checkpoints" / last["best_checkpoint"]


@pytest.fixture(scope="session")
def finished(tracker):
    """Makes an ended run: `finished("search", "trial", 0.1, name="MKD, seed 1", **{"vgsr.reference": "MKD"})`."""

    def make(search, trial, eer, state=tracking.COMPLETED, name="", seed=None, **tags):
        tags = {"vgsr.checkpoint": f"/c/{trial}", "vgsr.data": "d", **tags}
        run = tracking.open_run(
            tracker, search=search, trial=trial, name=name or f"{search}-{trial}", tags=tags, experiment=None
        )
        if seed is not None:
            tracker.client.log_param(run, "seed", seed)
        tracking.log_row(tracker, run, {"epoch": 1, "val_eer": eer, "best_val_eer": eer})
        tracking.close_run(tracker, run, state)
        return run

    return make
