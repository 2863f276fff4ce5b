"""The front of a search against brute force, and that no control is ever on it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr.search.conclude import chosen
from vgsr.search.front import front, winner
from vgsr.tracking import COMPLETED, FAILED, PRUNED, TrackedRun

METRICS = ("best_val_eer", "best_val_noisy_eer")


def run(run_id, eers, state=COMPLETED, control="none", reference=""):
    tags = {"vgsr.control": control, **({"vgsr.reference": reference} if reference else {})}
    return TrackedRun(str(run_id), str(run_id), state, tags, {}, dict(zip(METRICS, eers, strict=False)), 1.0)


eer = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.4])
runs = st.lists(
    st.tuples(
        st.tuples(eer, eer),
        st.sampled_from([COMPLETED, COMPLETED, PRUNED, FAILED]),
        st.sampled_from(["none", "none", "shuffled", "random"]),
        st.sampled_from(["", "", "one of them"]),
    ),
    max_size=12,
).map(lambda rows: [run(number, *row) for number, row in enumerate(rows)])


@given(runs)
def test_the_front_is_what_nobody_beats(runs):
    able = [one for one in runs if one.state == COMPLETED and one.tags["vgsr.control"] == "none"]
    wanted = []
    for one in able:
        x, y = (one.figures[name] for name in METRICS)
        beaten = False
        for other in able:
            u, v = (other.figures[name] for name in METRICS)
            beaten = beaten or (u < x and v <= y) or (u <= x and v < y)
        if not beaten:
            wanted.append(one)
    assert front(runs, METRICS) == wanted
    best = winner(runs, METRICS)
    if not able:
        assert best is None
    else:
        assert best in wanted and best.best_val_eer == min(one.best_val_eer for one in able)


@given(runs)
def test_with_one_figure_the_winner_is_the_lowest(runs):
    able = [one for one in runs if one.state == COMPLETED and one.tags["vgsr.control"] == "none"]
    best = winner(runs, METRICS[:1])
    assert best == min(able, key=lambda one: one.best_val_eer, default=None)


@given(runs)
def test_references_and_the_front_are_tested_and_nothing_that_did_not_end(runs):
    tested = chosen(runs, METRICS)
    assert all(one.state == COMPLETED for one in tested)
    wanted = [one for one in runs if one.state == COMPLETED and "vgsr.reference" in one.tags]
    assert {one.run_id for one in tested} == {one.run_id for one in [*wanted, *front(runs, METRICS)]}


@pytest.mark.parametrize("metrics", [METRICS, METRICS[:1]])
def test_a_control_never_wins_and_no_teacher_may(metrics):
    """The best figures are a control's; without it, the best are those of no teacher at all: a result."""
    control = run("shuffled faces", (0.01, 0.01), control="shuffled", reference="shuffled faces")
    without = run("no teacher", (0.1, 0.1), reference="no teacher")
    trial = run("trial", (0.2, 0.2))
    assert winner([control, without, trial], metrics) is without
    assert winner([control, trial], metrics) is trial
    assert winner([control], metrics) is None
    assert chosen([control, without, trial], metrics) == [control, without]
