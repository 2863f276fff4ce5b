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


@pytest.mark.parametrize(
    ("shape", "halfway"), [("linear", 0.1), ("exponential", 0.2 * (1 - 0.001**0.5))], ids=["linear", "exponential"]
)
def test_the_margin_of_the_classifier(shape, halfway):
    values = [schedule.ramp(p, start=19, full=39, value=0.2, shape=shape) for p in (0, 19, 29, 39, 100)]
    assert values == pytest.approx([0, 0, halfway, 0.2, 0.2])
    assert [schedule.ramp(p, start=5, full=5, value=0.2, shape=shape) for p in (4.9, 5)] == [0, 0.2]


def test_the_exponential_margin_is_that_of_wespeaker():
    # What its scheduler (commit dfa7419) said at these batches: 100 an epoch, epochs 20 to 40 counted from 1, 0 to 0.2.
    theirs = {1899: 0, 1901: 0.000689584, 2100: 0.099762563, 2900: 0.193675448, 3899: 0.199799308, 3900: 0.2}
    for batch, margin in theirs.items():
        found = schedule.ramp(batch / 100, start=19, full=39, value=0.2, shape="exponential")
        assert found == pytest.approx(margin, abs=1e-7)


@given(st.floats(0, 60), st.floats(0, 60), st.floats(0, 20), st.floats(0, 30))
def test_the_margin_never_falls_and_exponential_is_ahead_of_linear(one, other, start, length):
    def margin(progress, shape):
        return schedule.ramp(progress, start=start, full=start + length, value=0.3, shape=shape)

    early, late = sorted((one, other))
    for shape in ("linear", "exponential"):
        assert 0 <= margin(early, shape) <= margin(late, shape) <= 0.3
    assert margin(one, "exponential") >= margin(one, "linear") - 3e-4
