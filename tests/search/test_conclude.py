"""The end of a search: what was tested before it was stopped is not tested again, and every score is kept."""

from types import SimpleNamespace

import pytest
from rich.console import Console

import vgsr
from vgsr import speaker, tracking
from vgsr.data import manifest
from vgsr.evaluation import score_files
from vgsr.evaluation.metrics import eer
from vgsr.search import conclude
from vgsr.training import loop
from vgsr.training.session import LocalSession

from ..written import close_run, open_run


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    return tracking.connect(f"sqlite:///{tmp_path_factory.mktemp('tracked') / 'mlflow.db'}")


@pytest.fixture
def search(tiny_experiment):
    return SimpleNamespace(experiment=tiny_experiment(), plan=SimpleNamespace(metrics=("best_val_eer",)))


def finished(tracker, parent, name, checkpoint):
    tags = {tracking.PARENT: parent, "vgsr.reference": name, "vgsr.checkpoint": str(checkpoint)}
    run = open_run(tracker, search="s", trial=name, name=name, tags=tags, experiment=None)
    tracking.log_figures(tracker, run, {"best_val_eer": 0.1})
    close_run(tracker, run, tracking.COMPLETED)


def test_tests_go_on_where_they_were_stopped(tracker, search, tiny_experiment, tmp_path, monkeypatch):
    last = loop.train(tiny_experiment({"train.epochs": 1}), LocalSession(tmp_path / "run"))
    checkpoint = tmp_path / "run" / "checkpoints" / last["best_checkpoint"]
    parent = open_run(tracker, search="s", trial="", name="s", tags={}, experiment=None)
    for name in ("no teacher", "hard KD", "MKD"):
        finished(tracker, parent, name, checkpoint)
    load, loaded = vgsr.load, []

    def failing(place, device="cpu"):
        loaded.append(place)
        if len(loaded) == 2:
            raise KeyboardInterrupt
        return load(place, device)

    monkeypatch.setattr(vgsr, "load", failing)
    console = Console(quiet=True)
    with pytest.raises(KeyboardInterrupt):
        conclude.test(search, tracker, tracking.trials(tracker, parent), console)
    first = [run for run in tracking.trials(tracker, parent) if conclude.TESTED in run.tags]
    assert len(first) == 1
    conclude.test(search, tracker, tracking.trials(tracker, parent), console)
    assert len(loaded) == 4  # the one that was done, the one that was stopped, and the two that were left
    (expected,) = speaker.evaluate(load(checkpoint), manifest.read(search.experiment.corpus.manifest))
    for run in tracking.trials(tracker, parent):
        scores = score_files.read(tracking.attached(tracker, run.run_id, tracking.SCORES) / "synthetic_test.parquet")
        assert scores == expected.scores
        figure = eer(scores["score"].to_numpy(), scores["label"].to_numpy()).value
        assert run.figures["test_synthetic_test_eer"] == pytest.approx(figure, abs=1e-12)
        assert "synthetic/test" in run.tags[f"{tracking.PROTOCOL}synthetic_test"]
