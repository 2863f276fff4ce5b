import re
from dataclasses import replace

import pytest

from vgsr import style, tracking
from vgsr.report import det, learning
from vgsr.report.collect import Arm
from vgsr.report.page import page


@pytest.fixture
def plain(comparison):
    """The comparison without its score tables: intervals take their time."""
    return replace(comparison, scores={run.run_id: {} for run in comparison.runs})


@pytest.fixture
def text(plain):
    """The page of a benchmark, the comparison where none is given."""

    def text(benchmark=plain, baseline="no teacher", **plots) -> str:
        return page(benchmark, benchmark.arm(baseline), plots.get("drawn", {}), plots.get("undrawn", {}))

    return text


def test_sections_stand_in_their_order(text):
    headings = re.findall("^## (.*)$", text(drawn={"det": "Curves."}), re.M)
    assert headings == [
        "What was compared",
        "Leaderboard",
        "The teacher",
        "What the controls say",
        "Robustness",
        "Plots",
        "Runs",
    ]


def test_nothing_on_it_names_a_folder_or_a_person(text):
    assert not re.search(r"(?<![\w.…])/\w|/home|some noise", text())


def test_a_synthetic_corpus_says_in_bold_that_it_says_nothing(text, plain):
    said = "**The corpus is SYNTHETIC"
    assert said in text()
    tags = {**plain.search.tags, "vgsr.synthetic": "False"}
    assert said not in text(replace(plain, search=replace(plain.search, tags=tags)))


@pytest.mark.parametrize(
    "eer, said",
    [
        (0.02, "The best student's there is 7.76 ± 1.00 % (MKD + QAW)."),
        (0.0776, "**Warning: the teacher is no better than the best student**"),
        (None, "The teacher's own EER cannot be told"),
    ],
)
def test_a_teacher_that_is_no_better_is_a_warning(text, plain, eer, said):
    figures = {} if eer is None else {"teacher_eer": eer}
    found = text(replace(plain, search=replace(plain.search, figures=figures)))
    assert said in found
    assert ("Warning: the teacher" in found) == (eer == 0.0776)


def test_on_what_share_the_teacher_acts_is_told(text, plain):
    figures = {"teacher_eer": 0.02, "face_coverage": 0.6667, "face_coverage_speakers": 0.5}
    found = text(replace(plain, search=replace(plain.search, figures=figures)))
    assert (
        "The teacher has a face for 66.7 % of the training utterances, 50.0 % of the speakers. The teacher's" in found
    )
    assert "a face for" not in text()  # figures of an older version


def test_a_control_is_never_the_best_student(text, plain, tracked_run):
    lucky = tracked_run("random", changes={"teacher.control": "random"}, figures={"best_val_eer": 0.001})
    files = {**plain.robustness, lucky.run_id: {}}
    found = text(replace(plain, arms=(*plain.arms, Arm("random", (lucky,))), robustness=files))
    assert "(MKD + QAW)." in found


def test_a_running_search_is_unfinished(text, plain):
    running = replace(plain.arms[0].runs[0], state=tracking.RUNNING)
    arms = (Arm("no teacher", (running, *plain.arms[0].runs[1:])), *plain.arms[1:])
    search = replace(plain.search, state=tracking.RUNNING)
    found = text(replace(plain, search=search, arms=arms))
    assert "**Unfinished**: the search is running, and 1 of its 13 runs are." in found
    assert "11 completed, 1 failed, 1 running." in found
    assert "Unfinished" not in text()


def test_states_have_their_reasons(text, margin_search):
    assert "12 completed, 1 failed.\n- 1 failed: OSError: no space left on …/runs\n" in text()
    assert "21 completed, 4 pruned.\n- 4 pruned: stopped by ASHA after epoch 1\n" in text(margin_search)


def test_without_test_figures_nothing_is_told_from_validation(text, margin_search):
    found = text(margin_search)
    assert "No completed run has figures on a test list" in found
    assert "There is no completed control in this search" in found
    assert "gain %" not in found
    assert "| m11 | `distill.margin.value=0.479 distill.weight=" in found
    assert "| m23 |" not in found  # pruned


def test_without_a_baseline_there_is_no_gain(text, plain):
    found = text(plain, baseline="nobody")
    assert "no gain can be told" in found and "gain %" not in found
    assert "Without a baseline and figures on a test list, the controls say nothing." in found


def test_an_arm_without_a_control_is_named(text):
    assert "There is no control of hard KD" in text()


def test_plots_are_shown_with_their_captions_and_absent_ones_explained(text):
    found = text(drawn={"det": "Curves."}, undrawn={"margin": "no margin was searched"})
    assert "![det](det.png)\n\nCurves. ([PDF](det.pdf))" in found
    assert "There is no margin plot: no margin was searched." in found


def test_one_seed_only_is_a_figure_without_deviation(text, plain):
    single = tuple(Arm(arm.name, arm.runs[:1]) for arm in plain.arms)
    found = text(replace(plain, arms=single))
    eer = single[1].runs[0].figures["test_mine_clips_eer"]
    assert f"| hard KD | 1 | {100 * eer:.2f} |" in found


def test_intervals_and_what_the_control_says_with_score_tables(store):
    found = page(store.expected, store.expected.arm("no teacher"), {}, {})
    assert "**Better** than no teacher: MKD + QAW (+62.4 %). **Worse** than no teacher: hard KD (−69.1 %)." in found
    assert "3 paired seeds (MKD + QAW, hard KD, shuffled faces)." in found
    assert "of twenty arms that do nothing" in found
    assert "**The gain does not survive**: it is 62." in found
    assert "no interval" not in found


def test_validation_in_noise_has_a_column_where_there_was_one(text, plain):
    first = plain.arms[0]
    runs = tuple(replace(run, figures={**run.figures, "best_val_noisy_eer": 0.3}) for run in first.runs)
    found = text(replace(plain, arms=(Arm(first.name, runs), *plain.arms[1:])))
    assert "| no teacher | `distill.method=none quality.signals=[]` | 3 | 11.00 ± 1.00 | 30.00 ± 0.00 |" in found
    assert "in noise %" not in text()


def test_phases_are_part_of_what_was_compared(text, plain):
    phases = {
        "phases.0.name": "large-margin",
        "phases.0.epochs": "5",
        "phases.0.crop_seconds": "6.0",
        "phases.0.margin": "0.5",
        "phases.1.name": "more",
        "phases.1.epochs": "1",
        "phases.1.crop_seconds": "None",
        "phases.1.margin": "None",
    }
    said = text(replace(plain, search=replace(plain.search, params={**plain.search.params, **phases})))
    assert (
        "crops of 2.0 s; then 5 of the phase `large-margin`, crops of 6.0 s, margin 0.5; then 1 of the phase `more`.\n"
    ) in said
    assert "; then" not in text()


def test_settings_that_an_older_run_lacks_are_unknown(text, plain):
    params = {key: value for key, value in plain.search.params.items() if not key.startswith("student.")}
    found = text(replace(plain, search=replace(plain.search, params=params)))
    assert "Student: unknown, unknown channels" in found


def test_a_search_all_of_whose_runs_failed_still_has_a_page(text, plain):
    failed = tuple(Arm(arm.name, tuple(replace(run, state=tracking.FAILED) for run in arm.runs)) for arm in plain.arms)
    search = replace(plain, arms=failed)
    found = page(search, None, {}, {})
    assert "No arm has a completed run." in found
    assert "13 failed." in found
    assert learning.curve(failed[0], search.histories) is None
    with style.styled():
        assert learning.plot(search, {}).caption == "Validation EER by epoch, one seed each."
        assert det.plot(search, {}) == "no run has a score table"


def test_what_the_search_decided_is_told_with_its_reason(text, plain):
    tags = {**plain.search.tags, tracking.VERDICT: "Not promoted: top 1: worse.\nAgainst no teacher: worse."}
    found = text(replace(plain, search=replace(plain.search, tags=tags)))
    assert "## The search's verdict\n\n- Not promoted: top 1: worse.\n- Against no teacher: worse.\n" in found
