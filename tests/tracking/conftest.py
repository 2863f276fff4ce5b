"""A tracking store for all these tests, and a finished model to put into it."""

import shutil

import pytest

from vgsr import tracking

from ..written import close_run, log_row, open_run


@pytest.fixture(scope="session")
def tracker(tmp_path_factory):
    return tracking.connect(f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}")


@pytest.fixture(scope="session")
def checkpoint(checkpoint, tmp_path_factory):
    """The trained checkpoint at a path with letters that URIs write otherwise."""
    return shutil.copytree(checkpoint, tmp_path_factory.mktemp("a run #1") / "checkpoints" / checkpoint.name)


@pytest.fixture(scope="session")
def finished(tracker):
    """Makes an ended run: `finished("search", "trial", 0.1, name="MKD, seed 1", **{"vgsr.reference": "MKD"})`."""

    def make(search, trial, eer, state=tracking.COMPLETED, name="", seed=None, **tags):
        tags = {"vgsr.checkpoint": f"/c/{trial}", "vgsr.data": "d", **tags}
        run = open_run(
            tracker, search=search, trial=trial, name=name or f"{search}-{trial}", tags=tags, experiment=None
        )
        if seed is not None:
            tracker.client.log_param(run, "seed", seed)
        log_row(tracker, run, {"epoch": 1, "val_eer": eer, "best_val_eer": eer})
        close_run(tracker, run, state)
        return run

    return make
