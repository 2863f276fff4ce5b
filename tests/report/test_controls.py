from dataclasses import replace

import pytest

from vgsr.report.collect import Arm
from vgsr.report.controls import counterpart, sentence
from vgsr.report.gains import Gain, Interval

BETTER, WORSE, NEITHER = (0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (0.05, -0.1, 0.2)  # gain, and its interval
# Of the arm over the baseline, of the control over the baseline, of the arm over the control: what follows.
SAID = {
    (BETTER, BETTER, NEITHER): "**The gain survives**",
    (BETTER, NEITHER, BETTER): "**The gain does not survive**",
    (BETTER, WORSE, BETTER): "**The gain does not survive**",
    (BETTER, BETTER, BETTER): "**A part of the gain survives**",
    (BETTER, BETTER, WORSE): "**With somebody else's faces it is better still**",
    (BETTER, NEITHER, NEITHER): "cannot be told",
    (NEITHER, BETTER, NEITHER): "no gain to take apart",
    (WORSE, NEITHER, WORSE): "no gain to take apart",
}
# Without intervals: gains alone.
BARE = {
    (0.2, 0.05): "25 % of it survives somebody else's faces",
    (0.2, 0.3): "All of it survives",
    (0.2, -0.1): "None of it survives",
    (0.2, 0.0): "None of it survives",
    (-0.1, 0.2): "no gain to take apart",
}


@pytest.fixture
def spoken(comparison):
    """The sentence of the comparison's control where the three gains are what they are said to be."""

    def spoken(gained: Gain | None, kept: Gain | None, apart: Gain | None) -> str | None:
        control, arm, baseline = (comparison.arm(name) for name in ("shuffled faces", "MKD + QAW", "no teacher"))
        given = {
            (arm.name, baseline.name): gained,
            (control.name, baseline.name): kept,
            (arm.name, control.name): apart,
        }
        return sentence(lambda one, other, trials: given[one.name, other.name], control, arm, baseline, "clips")

    return spoken


@pytest.mark.parametrize("case", SAID)
def test_the_verdict_follows_from_the_three_comparisons(spoken, case):
    text = spoken(*(Gain(size, Interval(low, high, 0.01, "40 speakers")) for size, low, high in case))
    assert SAID[case] in text
    others = {said for said in SAID.values() if said != SAID[case]}
    assert not any(said in text for said in others)
    assert ("knowledge of faces" in text) == (case in [(BETTER, BETTER, NEITHER), (BETTER, BETTER, WORSE)])


@pytest.mark.parametrize("case", BARE)
def test_without_intervals_nothing_is_shown_and_it_says_so(spoken, case):
    text = spoken(*(Gain(size, "score tables are missing") for size in (*case, 0.1)))
    assert BARE[case] in text
    assert "no interval" in text and "**" not in text


def test_without_figures_nothing_is_said(spoken):
    assert spoken(None, None, None) is None


def test_a_control_is_held_against_the_arm_with_its_settings(comparison, tracked_run):
    control = comparison.arm("shuffled faces")
    assert counterpart(comparison, control).name == "MKD + QAW"
    lonely = Arm("x", (tracked_run("x", changes={"teacher.control": "random", "distill.margin.value": 0.9}),))
    assert counterpart(comparison, lonely) is None


def test_a_reference_is_preferred_to_a_searched_trial_with_the_same_settings(comparison, tracked_run):
    searched = Arm("a1b2", (tracked_run("a1b2", searched=True),))
    both = replace(comparison, arms=(searched, *comparison.arms))
    assert counterpart(both, comparison.arm("shuffled faces")).name == "MKD + QAW"
