"""`vgsr train` and MLflow: what a dead server has not heard is kept and sent later; how a run ends is told."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from vgsr import tracked, tracking
from vgsr.training.check import Findings
from vgsr.training.rows import Diverged

ROW = {"epoch": 1, "batch": 0, "val_eer": 0.2, "best_val_eer": 0.2, "best_checkpoint": "00001-000000", "attempt": "ab"}
SHOWN = {"loss": 1.0, "classification": 1.0, "distillation": 0.0, "active": 0.5, "accuracy": 0.5, "unreadable": 0.0}
STARTED = {"attempt": "ab", "entered": 0.0, "epoch": 0, "workers": [{"rank": 0, "node": "n"}, {"rank": 1, "node": "n"}]}


class Dead:
    """A client of a server that is gone."""

    def __getattr__(self, name):
        def fail(*_, **__):
            raise ConnectionError("nobody answers")

        return fail


@pytest.fixture
def train(tiny_experiment, tmp_path, monkeypatch):
    """Trains with a fake of Ray Train, which reports `rows` and then fails with `error`; what was printed."""
    monkeypatch.setenv("VGSR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tracked.cluster, "connect", lambda: None)
    alive = tracking.connect(f"sqlite:///{tmp_path / 'mlflow.db'}")
    asked = []

    def run(rows=(ROW,), error=None, dead=False, workers=None, changes=None):
        def fit(experiment, *, on_row, on_started, workers, **_):
            asked.append(workers)
            on_started(STARTED)
            for row in rows:
                on_row({**SHOWN, "utterances_per_second": 1.0, **row})
            if error:
                raise error

        tracker = tracking.Tracker(alive.uri, Dead(), alive.experiment_id) if dead else alive
        monkeypatch.setattr(tracked.tracking, "connect", lambda: tracker)
        monkeypatch.setattr(tracked.launch, "fit", fit)
        monkeypatch.setattr(tracked, "LEAVING", 0.5 if dead else 20.0)
        findings = Findings((), "d", "e", synthetic=True, teacher_eer=0.1, coverage=None, signals=())
        with (tmp_path / "said").open("a") as file:
            console = Console(file=file, width=200)
            return tracked.train(tiny_experiment(changes), "one", "/store", findings, console, workers)

    return SimpleNamespace(run=run, asked=asked, alive=alive, said=lambda: (tmp_path / "said").read_text())


def kept(tracker):
    (run,) = tracker.client.search_runs([tracker.experiment_id])
    return run.data


def test_a_run_is_recorded_whole(train):
    assert train.run(workers=(2, 8)) == "/store/one/00001-000000"
    assert train.asked == [(2, 8)]
    data = kept(train.alive)
    assert data.metrics["val_eer"] == 0.2 and data.metrics["teacher_eer"] == 0.1
    assert data.tags["vgsr.state"] == "completed" and data.tags["vgsr.checkpoint"] == "/store/one/00001-000000"
    assert "2 workers on 1 node, from the start" in train.said()


def test_a_dead_server_neither_stops_a_run_nor_loses_it(train):
    assert train.run(dead=True) == "/store/one/00001-000000"
    assert "MLflow has yet to take" in train.said() and "the same command sends them" in train.said()
    train.run(rows=[{**ROW, "history": []}])
    data = kept(train.alive)
    assert data.metrics["val_eer"] == 0.2 and data.tags["vgsr.state"] == "completed"


def test_a_failed_run_is_closed_also_later(train):
    with pytest.raises(OSError, match="the node is gone"):
        train.run(error=OSError("the node is gone"), dead=True)
    with pytest.raises(OSError, match="again"):
        train.run(rows=[], error=OSError("again"))
    data = kept(train.alive)
    assert data.tags["vgsr.state"] == "failed" and data.tags["vgsr.reason"] == "again"
    assert data.metrics["val_eer"] == 0.2


def test_an_interrupted_run_has_not_failed(train):
    with pytest.raises(KeyboardInterrupt):
        train.run(error=KeyboardInterrupt())
    assert kept(train.alive).tags["vgsr.state"] == "running"


def test_a_run_that_diverged_has_failed(train):
    with pytest.raises(Diverged):
        train.run(rows=[{"epoch": 1, "batch": 0, "diverged": True, "val_eer": 1.0, "best_val_eer": 1.0}])
    assert kept(train.alive).tags["vgsr.state"] == "failed"


def test_a_run_goes_on_with_another_number_of_workers(train):
    train.run()
    train.run(changes={"train.workers": 3})
    assert "refused" not in train.said()
    assert kept(train.alive).params["train.workers"] == "1"  # MLflow lets no parameter change
