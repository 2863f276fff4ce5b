"""`vgsr board`: the right search, and a picture that stays when MLflow goes away."""

from dataclasses import replace

import pytest

from vgsr import cli, tracking
from vgsr.search import board as boards

from ..written import close_run, log_row, open_run


@pytest.fixture
def tracker(vgsr, tmp_path, monkeypatch):
    """A store with two searches and a single training; the later search runs."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, "1")
    store = tracking.connect()
    for search, trial, name in (
        ("margins-1a", "", "margins-1a"),
        ("margins-1a", "s0", "old trial"),
        ("mine-7f", "single", "mine-7f"),
        ("margins-2b", "", "margins-2b"),
        ("margins-2b", "s0", "new trial"),
    ):
        tags = {tracking.PARENT: tracking.search_run(store, search)} if trial == "s0" else {}
        run = open_run(store, search=search, trial=trial, name=name, tags=tags, experiment=None)
        if trial:
            log_row(store, run, {"epoch": 1, "best_val_eer": 0.25})
        if search != "margins-2b":
            close_run(store, run, tracking.COMPLETED)
    return store


def test_the_latest_search_or_the_one_that_is_named(vgsr, tracker):
    status, text = vgsr("board")
    assert status == 0 and "margins-2b  running" in text and "new trial" in text and "25.00" in text
    status, text = vgsr("board", "margins-1a", "--once")
    assert "margins-1a  completed" in text and "old trial" in text and "new trial" not in text
    assert "mine-7f" in vgsr("board", "mine-7f")[1]
    status, text = vgsr("board", "margins-2c")
    assert status == 2 and "no search and no training 'margins-2c'" in text and "did you mean 'margins-2b'?" in text


def test_trainings_where_nothing_was_searched_and_nothing_at_all(vgsr, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    status, text = vgsr("board")
    assert status == 2 and "no runs are tracked on this machine yet" in text
    store = tracking.connect()
    status, text = vgsr("board")
    assert status == 2 and "nothing has been searched or trained yet" in text
    open_run(store, search="a-1", trial="single", name="a-1", tags={}, experiment=None)
    assert "a-1" in vgsr("board")[1]


def test_the_last_picture_stays_while_mlflow_is_away_and_the_end_ends_it(vgsr, tracker, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(cli.console, "_force_terminal", True)
    monkeypatch.setattr(cli.console, "is_interactive", True)
    monkeypatch.setattr(cli.board, "REFRESH_SECONDS", 0)
    true, reads = boards.read, []

    def read(tracker, wanted):
        reads.append(wanted)
        if len(reads) == 2:
            raise OSError("connection refused")
        found = true(tracker, wanted)
        return found if len(reads) < 4 else replace(found, search=replace(found.search, state=tracking.COMPLETED))

    monkeypatch.setattr(boards, "read", read)
    status, text = vgsr("board")
    assert status == 0 and len(reads) == 4 and len(set(reads[1:])) == 1
    away = text.index("MLflow does not answer; this is what it said at")
    assert "connection refused" in text and "new trial" in text[away:]
    assert "completed" in text[away:] and "MLflow does not answer" not in text[text.rindex("margins-2b") :]
