"""A server that does not answer is waited for, and then the search says what it keeps and how to go on."""

import io
from types import SimpleNamespace

import pytest
from requests import ConnectionError
from rich.console import Console

from vgsr import tracking
from vgsr.search import patience


@pytest.fixture
def clock(monkeypatch):
    """Time that passes by waiting alone."""
    now = SimpleNamespace(seconds=0.0)

    def sleep(seconds):
        now.seconds += seconds

    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: now.seconds, sleep=sleep))
    return now


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200, markup=False)


class Box:
    """An outbox that has so many events left after each look at it."""

    trouble = "connection refused"

    def __init__(self, clock, *left):
        self.clock, self.left = clock, list(left)

    def wait(self, seconds):
        self.clock.seconds += seconds
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def test_nothing_is_said_where_nothing_is_left(clock, console):
    patience.settle(Box(clock, 0), "/out", console)
    assert console.file.getvalue() == ""


def test_a_slow_server_is_waited_for_as_long_as_it_takes_something(clock, console):
    patience.settle(Box(clock, *range(1000, -1, -1)), "/out", console)
    assert clock.seconds > 4 * patience.PATIENCE


def test_a_dead_server_ends_it_with_what_is_kept_and_where(clock, console):
    with pytest.raises(SystemExit) as ended:
        patience.settle(Box(clock, 7), "/out", console)
    assert ended.value.code == 75 and patience.PATIENCE < clock.seconds < patience.PATIENCE + 60
    said = console.file.getvalue()
    assert "7 events are kept in /out; the same command sends them and goes on." in said
    assert 10 < said.count("connection refused") < 30  # one that waits says so now and then


def failing(monkeypatch, times, reachable=False, error=ValueError):
    """A step that fails so often, while the server does not answer (or does)."""
    calls = []

    def step():
        calls.append(0)
        if len(calls) <= times:
            raise error("a request failed")
        return "done"

    def connect(uri):
        if not reachable and len(calls) <= times:
            raise tracking.TrackingError("no answer")

    monkeypatch.setattr(tracking, "connect", connect)
    return step, calls


def test_a_question_is_asked_until_the_server_is_back(clock, console, monkeypatch):
    step, calls = failing(monkeypatch, 3)
    assert patience.insist(step, SimpleNamespace(uri="u"), console) == "done" and len(calls) == 4


def test_a_mistake_is_no_dead_server(clock, console, monkeypatch):
    step, calls = failing(monkeypatch, 3, reachable=True)
    with pytest.raises(ValueError, match="a request failed"):
        patience.insist(step, SimpleNamespace(uri="u"), console)
    assert len(calls) == 1


def test_a_server_that_is_back_already_is_asked_once_more(clock, console, monkeypatch):
    step, calls = failing(monkeypatch, 1, reachable=True, error=ConnectionError)
    assert patience.insist(step, SimpleNamespace(uri="u"), console) == "done" and len(calls) == 2
    step, calls = failing(monkeypatch, 9, reachable=True, error=ConnectionError)
    with pytest.raises(ConnectionError):
        patience.insist(step, SimpleNamespace(uri="u"), console)
    assert len(calls) == 2


def test_nobody_waits_for_ever(clock, console, monkeypatch):
    step, _ = failing(monkeypatch, 10**6)
    with pytest.raises(SystemExit) as ended:
        patience.insist(step, SimpleNamespace(uri="u"), console)
    assert ended.value.code == 75 and "no answer" in console.file.getvalue()
