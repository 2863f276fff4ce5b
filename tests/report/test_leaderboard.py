from dataclasses import replace

import pytest

from vgsr.report import leaderboard
from vgsr.report.collect import Arm
from vgsr.report.gains import Gain, Interval, gains
from vgsr.report.leaderboard import Standing, intervals, markdown, protocols, sentence, standings

TRIALS = "mine_clips"


def cells(text: str) -> list[list[str]]:
    """A Markdown table as rows of cells, its rule left out."""
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines()]
    return [rows[0], *rows[2:]]


def test_results_stand_by_eer_and_controls_apart(comparison):
    found = standings(comparison, TRIALS, comparison.arm("no teacher"), gains(comparison))
    assert [one.arm.name for one in found] == ["MKD + QAW", "no teacher", "hard KD", "shuffled faces"]
    rows = cells(markdown(found, comparison.arm("no teacher")))
    assert [row[0] for row in rows[1:4]] == ["MKD + QAW", "no teacher", "hard KD"]
    assert rows[4][0].startswith("**controls**")
    assert rows[5][0] == "*shuffled faces* (control: shuffled)"


def test_cells_are_means_over_the_seeds(comparison):
    baseline = comparison.arm("no teacher")
    heading, *rows = cells(markdown(standings(comparison, TRIALS, baseline, gains(comparison)), baseline))
    row = dict(zip(heading, next(row for row in rows if row[0] == "hard KD"), strict=True))
    eers = [run.figures[f"test_{TRIALS}_eer"] for run in comparison.arm("hard KD").completed]
    costs = [run.figures[f"test_{TRIALS}_min_dcf_0.01"] for run in comparison.arm("hard KD").completed]
    mean = sum(eers) / 3
    deviation = (sum((eer - mean) ** 2 for eer in eers) / 2) ** 0.5
    assert row["EER %"] == f"{100 * mean:.2f} ± {100 * deviation:.2f}"
    assert row["minDCF(0.01)"] == f"{sum(costs) / 3:.3f}"
    assert row["seeds"] == "3"


def test_a_searched_trial_says_that_it_is_optimistic(comparison, tracked_run):
    run = tracked_run("a1b2", figures={f"test_{TRIALS}_eer": 0.05}, searched=True)
    more = replace(comparison, arms=(*comparison.arms, Arm("a1b2", (run,))))
    found = [one for one in standings(more, TRIALS, None, gains(more)) if one.arm.name == "a1b2"]
    heading, row = cells(markdown(found, None))
    assert dict(zip(heading, row, strict=True)) == {
        "arm": "a1b2",
        "seeds": "1 seed, chosen on validation: optimistic",
        "EER %": "5.00",
    }


@pytest.fixture
def told(comparison):
    """Standings with gains as they are said to be, by arm."""

    def told(**given: Gain | None) -> list[Standing]:
        found = standings(comparison, TRIALS, None, gains(comparison))
        names = {"mkd": "MKD + QAW", "hard": "hard KD", "control": "shuffled faces"}
        by_name = {names[short]: gain for short, gain in given.items()}
        return [replace(one, gain=by_name.get(one.arm.name)) for one in found]

    return told


def test_gains_intervals_and_losses_in_their_cells(comparison, told):
    baseline = comparison.arm("no teacher")
    found = told(
        mkd=Gain(0.125, Interval(0.031, 0.209, 0.0123, "40 speakers")),
        hard=Gain(-0.2, Interval(-0.3, -0.1, 0.0004, "40 speakers")),
    )
    rows = {row[0]: row[-3:] for row in cells(markdown(found, baseline))}
    assert rows["MKD + QAW"] == ["+12.5 [+3.1, +20.9]", "0.012", "better"]
    assert rows["hard KD"] == ["−20.0 [−30.0, −10.0]", "< 0.001", "worse"]
    assert rows["no teacher"] == ["baseline", "–", "–"]


def test_without_score_tables_a_gain_has_no_interval(comparison, told):
    rows = {
        row[0]: row[-3:]
        for row in cells(markdown(told(mkd=Gain(0.1, "score tables are missing")), comparison.arm("no teacher")))
    }
    assert rows["MKD + QAW"] == ["+10.0", "–", "no interval"]
    assert rows["hard KD"] == ["cannot be told", "–", "–"]


def test_the_sentence_says_worse_when_it_is_worse_and_leaves_controls_out(comparison, told):
    found = told(
        mkd=Gain(0.02, Interval(-0.1, 0.1, 0.7, "40 speakers")),
        hard=Gain(-0.2, Interval(-0.3, -0.1, 0.001, "40 speakers")),
        control=Gain(0.5, Interval(0.4, 0.6, 0.001, "40 speakers")),
    )
    assert sentence(found, comparison.arm("no teacher")) == (
        "**Worse** than no teacher: hard KD (−20.0 %). **No difference shown** to no teacher: MKD + QAW (+2.0 %)."
    )
    assert sentence(found, None) == ""


def test_what_intervals_rest_on_is_said_once_with_its_cautions(told):
    found = told(
        mkd=Gain(0.1, Interval(0.0, 0.2, 0.05, "40 speakers", ("one seed each",))),
        hard=Gain(0.1, Interval(0.0, 0.3, 0.06, "40 speakers", ("one seed each",))),
        control=Gain(0.1, "score tables are missing"),
    )
    assert intervals(found) == [
        "Interval: 40 speakers (MKD + QAW, hard KD).",
        "**Caution**: one seed each (MKD + QAW, hard KD).",
        "No interval: score tables are missing (shuffled faces).",
    ]


def test_one_protocol_is_a_line_and_two_are_a_warning(comparison):
    (line,) = protocols(comparison, TRIALS)
    assert line.startswith("Protocol: 500 target and 1,500 non-target trials · trials mine/clips (2,000, digest")
    assert "· 1 seed" not in line
    first = comparison.arms[0]
    other = replace(first.runs[0], tags={**first.runs[0].tags, f"vgsr.protocol.{TRIALS}": "another list"})
    mixed = replace(comparison, arms=(Arm(first.name, (other, *first.runs[1:])), *comparison.arms[1:]))
    warning, *lines = protocols(mixed, TRIALS)
    assert "must not be compared" in warning
    assert len(lines) == 2


def test_an_error_rate_of_one_seed_has_no_deviation():
    assert leaderboard.percent(leaderboard.Figure(0.1234, None, 1)) == "12.34"
    assert leaderboard.percent(None) == "–"
