"""Writing runs: they are found again, and nothing is logged twice or lost."""

import pytest

from vgsr import tracking
from vgsr.tracking import FAILED

from ..written import close_run, log_row, open_run


def opened(tracker, search, trial, tags=None):
    return open_run(tracker, search=search, trial=trial, name=f"{search}-{trial}", tags=tags or {}, experiment=None)


def test_a_run_is_found_again(tracker):
    first = opened(tracker, "again", "t0")
    close_run(tracker, first, FAILED, "killed")
    assert opened(tracker, "again", "t0") == first
    assert tracking.state(tracker, first) == "running"
    assert opened(tracker, "again", "t1") != first


@pytest.mark.parametrize(
    "name", ["it's", 'a "quote"', "both ' and \"", "back\\slash\\", "x' or tags.`a` = 'b", "a;b -- %"]
)
def test_names_may_be_anything_that_a_user_types(tracker, name):
    other = opened(tracker, "it", "s")
    first = opened(tracker, name, name)
    assert first != other and opened(tracker, name, name) == first
    assert opened(tracker, name, "") != first
    assert tracking.search_run(tracker, name) == opened(tracker, name, "")


def test_rows_are_logged_once_with_their_epoch_and_steps(tracker):
    run = opened(tracker, "rows", "t0")
    rows = [
        {"epoch": n, "val_eer": 0.1 * n, "steps": {"loss": [n + 0.1, n + 0.2]}, "first_step": 2 * (n - 1), "batch": 0}
        for n in (1, 2, 3, 4)
    ]
    log_row(tracker, run, rows[0])
    log_row(tracker, run, rows[0])
    # Epoch 2 was lost; the resumed run's first report brings it along.
    log_row(tracker, run, {**rows[2], "history": rows[:2]})
    log_row(tracker, run, rows[3])
    history = tracker.client.get_metric_history(run, "val_eer")
    assert [(m.step, pytest.approx(m.value)) for m in history] == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    steps = sorted((m.step, m.value) for m in tracker.client.get_metric_history(run, "step_loss"))
    assert steps == [(0, 1.1), (1, 1.2), (2, 2.1), (3, 2.2), (4, 3.1), (5, 3.2), (6, 4.1), (7, 4.2)]


def test_many_steps_fit_in_as_many_calls_as_needed(tracker):
    run = opened(tracker, "many", "t0")
    log_row(tracker, run, {"epoch": 1, "steps": {"loss": [float(i) for i in range(2500)]}, "first_step": 0})
    assert len(tracker.client.get_metric_history(run, "step_loss")) == 2500


def test_a_server_that_does_not_answer_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(
        tracking.TrackingError, match=r"http://joe:\*\*\*@127.0.0.1:9: MLflow does not answer"
    ) as caught:
        tracking.connect("http://joe:hidden@127.0.0.1:9")
    assert "hidden" not in str(caught.value)
