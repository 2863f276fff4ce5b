"""Runs of MLflow for tests, written as every run is: by an outbox, here one for each call."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vgsr.config import Experiment
from vgsr.tracking import Outbox, Tracker
from vgsr.tracking.runs import address
from vgsr.tracking.store import tagged


@contextmanager
def _outbox(tracker: Tracker) -> Iterator[Outbox]:
    with tempfile.TemporaryDirectory() as folder:
        box = Outbox(tracker, folder)
        yield box
        assert box.close(60) == 0 and not box.refused, box.trouble + box.refused


def open_run(
    tracker: Tracker, *, search: str, trial: str, name: str, tags: dict[str, str], experiment: Experiment | None
) -> str:
    """`Outbox.open`; the run's id."""
    with _outbox(tracker) as box:
        box.open(search, trial, name=name, tags=tags, experiment=experiment)
    return next(tagged(tracker, address(search, trial))).info.run_id


def log_row(tracker: Tracker, run: str, row: dict[str, Any]) -> None:
    """`Outbox.row` of the run of this id."""
    with _outbox(tracker) as box:
        box.row(*_where(tracker, run), row)


def close_run(tracker: Tracker, run: str, state: str, reason: str = "") -> None:
    """`Outbox.close_run` of the run of this id."""
    with _outbox(tracker) as box:
        box.close_run(*_where(tracker, run), state, reason)


def _where(tracker: Tracker, run: str) -> tuple[str, str]:
    tags = tracker.client.get_run(run).data.tags
    return tags["vgsr.search"], tags["vgsr.trial"].removeprefix("-")
