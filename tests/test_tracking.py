"""Tracking: runs are found again, nothing is logged twice or lost, the champion is the best that can be ranked."""

import pytest

from vgsr import tracking
from vgsr.tracking import COMPLETED, FAILED, PRUNED, TrackingError


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    return tracking.connect(f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}")


def child(tracker, search, trial, tags=None):
    return tracking.open_run(
        tracker, search=search, trial=trial, name=f"{search}-{trial}", tags=tags or {}, experiment=None
    )


def finished(tracker, search, trial, eer, state=COMPLETED, **tags):
    run = child(tracker, search, trial, {"vgsr.checkpoint": f"/c/{trial}", "vgsr.data": "d", **tags})
    tracking.log_row(tracker, run, {"epoch": 1, "val_eer": eer, "best_val_eer": eer})
    tracking.close_run(tracker, run, state)
    return run


def test_a_run_is_found_again(tracker):
    first = child(tracker, "again", "t0")
    tracking.close_run(tracker, first, FAILED, "killed")
    assert child(tracker, "again", "t0") == first
    assert tracking.state(tracker, first) == "running"
    assert child(tracker, "again", "t1") != first


def test_rows_are_logged_once_with_their_epoch_and_steps(tracker):
    run = child(tracker, "rows", "t0")
    rows = [
        {"epoch": n, "val_eer": 0.1 * n, "steps": {"loss": [n + 0.1, n + 0.2]}, "first_step": 2 * (n - 1), "batch": 0}
        for n in (1, 2, 3, 4)
    ]
    tracking.log_row(tracker, run, rows[0])
    tracking.log_row(tracker, run, rows[0])
    # Epoch 2 was lost; the resumed run's first report brings it along.
    tracking.log_row(tracker, run, {**rows[2], "history": rows[:2]})
    tracking.log_row(tracker, run, rows[3])
    history = tracker.client.get_metric_history(run, "val_eer")
    assert [(m.step, pytest.approx(m.value)) for m in history] == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    steps = sorted((m.step, m.value) for m in tracker.client.get_metric_history(run, "step_loss"))
    assert steps == [(0, 1.1), (1, 1.2), (2, 2.1), (3, 2.2), (4, 3.1), (5, 3.2), (6, 4.1), (7, 4.2)]


def test_many_steps_fit_in_as_many_calls_as_needed(tracker):
    run = child(tracker, "many", "t0")
    tracking.log_row(tracker, run, {"epoch": 1, "steps": {"loss": [float(i) for i in range(2500)]}, "first_step": 0})
    assert len(tracker.client.get_metric_history(run, "step_loss")) == 2500


def test_the_best_is_the_best_completed_one(tracker):
    finished(tracker, "best", "a", 0.3)
    want = finished(tracker, "best", "b", 0.2)
    finished(tracker, "best", "pruned", 0.1, PRUNED)
    finished(tracker, "best", "control", 0.05, **{"vgsr.control": "shuffled"})
    assert tracking.best(tracker, "best").run_id == want
    with pytest.raises(TrackingError, match="no completed run of search 'none'"):
        tracking.best(tracker, "none")


def test_runs_on_different_data_are_not_ranked(tracker):
    finished(tracker, "mixed", "a", 0.3)
    finished(tracker, "mixed", "b", 0.2, **{"vgsr.data": "other"})
    with pytest.raises(TrackingError, match="different corpora"):
        tracking.best(tracker, "mixed")


def test_the_champion_is_registered_once(tracker, tmp_path):
    (tmp_path / "checkpoint.json").write_text("{}")
    finished(tracker, "champion", "a", 0.3)
    run = tracking.best(tracker, "champion")
    version = tracking.promote(tracker, run, tmp_path)
    assert tracking.promote(tracker, run, tmp_path) == version
    held = tracker.client.get_model_version_by_alias("vgsr", "champion")
    assert (str(held.version), held.run_id) == (version, run.run_id)
    files = [item.path for item in tracker.client.list_artifacts(run.run_id, "checkpoint")]
    assert files == ["checkpoint/checkpoint.json"]


def test_trials_of_a_search_are_its_children(tracker):
    parent = child(tracker, "family", "")
    runs = [finished(tracker, "family", f"t{n}", 0.1 * n, **{tracking.PARENT: parent}) for n in (3, 1, 2)]
    assert [run.run_id for run in tracking.trials(tracker, parent)] == [runs[1], runs[2], runs[0]]
    assert tracking.search_run(tracker, "family") == parent
