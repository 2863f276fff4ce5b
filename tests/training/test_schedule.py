"""Schedules: their ends, their middle, and nothing beyond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr.training import schedule


@pytest.mark.parametrize(
    ("kind", "at_start", "half_way", "at_end"),
    [("constant", 0.4, 0.4, 0.4), ("warmup", 0.0, 0.2, 0.4), ("anneal", 0.4, 0.2, 0.0)],
)
def test_margin_schedules(kind, at_start, half_way, at_end):
    values = [schedule.margin(p, schedule=kind, value=0.4, epochs=8) for p in (0, 4, 8, 20)]
    assert values == pytest.approx([at_start, half_way, at_end, at_end])


@given(st.floats(0, 50), st.floats(0, 50), st.floats(0.1, 30), st.sampled_from(["warmup", "anneal"]))
def test_margin_schedules_are_monotone_and_stay_within(one, other, epochs, kind):
    early, late = (schedule.margin(p, schedule=kind, value=0.7, epochs=epochs) for p in sorted((one, other)))
    assert 0 <= early <= 0.7 and 0 <= late <= 0.7
    assert early <= late if kind == "warmup" else early >= late
