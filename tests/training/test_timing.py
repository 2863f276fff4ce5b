"""When to ask and when to save, by a clock that the test moves."""

from itertools import pairwise

import pytest

from vgsr.training import timing
from vgsr.training.timing import Rhythm


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(timing.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("batch_seconds", "pause"), [(0.1, 20), (0.5, 4), (2.0, 1), (30.0, 1)])
def test_it_asks_about_every_two_seconds_in_whole_batches(clock, batch_seconds, pause):
    rhythm, asked = Rhythm(), []
    for batch in range(1, 101):
        clock[0] += batch_seconds
        if rhythm.is_time():
            asked.append(batch)
            rhythm.rest(rhythm.pause)
    assert asked[0] == 1
    assert {later - one for one, later in pairwise(asked)} <= {pause, pause - 1}


def test_a_checkpoint_is_due_after_half_a_minute(clock):
    rhythm = Rhythm()
    clock[0] += 29
    assert not rhythm.due
    clock[0] += 2
    assert rhythm.due
    rhythm.saved(0.1)
    assert not rhythm.due


def test_checkpoints_that_take_long_are_made_less_often(clock):
    rhythm = Rhythm()
    rhythm.saved(10.0)
    clock[0] += 499
    assert not rhythm.due
    clock[0] += 2
    assert rhythm.due
