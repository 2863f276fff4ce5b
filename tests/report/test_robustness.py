from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from vgsr.evaluation.conditions import CLEAN, Condition
from vgsr.report import robustness

NOISE = Condition("noise", 10.0)


def test_each_arm_has_its_mean_under_each_condition(comparison):
    (tested,) = robustness.gather(comparison)
    for arm in comparison.arms:
        eers = list(arm.values("test_mine_clips_eer").values())
        assert tested.figure(arm.name, CLEAN).mean == pytest.approx(sum(eers) / 3)
        assert tested.figure(arm.name, NOISE).mean == pytest.approx(1.3 * sum(eers) / 3)
        noisy = [CLEAN, *(Condition("noise", level) for level in (0.0, 10.0, 20.0))]
        assert tested.mean(arm.name, noisy).mean == pytest.approx((1 + 1.5 + 1.3 + 1.1) / 4 * sum(eers) / 3)


def test_the_table_has_conditions_in_the_protocols_order_then_their_means(comparison):
    text = robustness.markdown(comparison)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert [row[0].strip("| ") for row in rows[2:7]] == [
        "clean",
        "noise 0 dB",
        "noise 10 dB",
        "noise 20 dB",
        "reverberation",
    ]
    assert rows[7][0] == "| **mean of 4 (clean, noise 0–20 dB)**"
    eers = list(comparison.arm("no teacher").values("test_mine_clips_eer").values())
    assert rows[2][1].startswith(f"{100 * sum(eers) / 3:.2f} ± ")
    assert text.count("Protocol: ") == 1 and "Warning" not in text


def test_a_mean_is_over_what_all_runs_have(comparison, tmp_path):
    place = comparison.robustness["hard KD-0"]["mine_clips"]
    less = pq.read_table(place).slice(0, 2)  # clean and reverberation
    pq.write_table(less, tmp_path / "mine_clips.parquet")
    files = {**comparison.robustness, "hard KD-0": {"mine_clips": tmp_path / "mine_clips.parquet"}}
    (tested,) = robustness.gather(replace(comparison, robustness=files))
    assert tested.common == [CLEAN, Condition("reverberation")]
    assert len(tested.conditions) == 5
    assert tested.figure("hard KD", NOISE).seeds == 2
    assert robustness.plotted(replace(comparison, robustness=files)) == []


def test_different_protocols_are_a_warning(comparison, tmp_path):
    place = comparison.robustness["hard KD-0"]["mine_clips"]
    table = pq.read_table(place)
    pq.write_table(table.replace_schema_metadata({"protocol": "other noise"}), tmp_path / "mine_clips.parquet")
    files = {**comparison.robustness, "hard KD-0": {"mine_clips": tmp_path / "mine_clips.parquet"}}
    text = robustness.markdown(replace(comparison, robustness=files))
    assert "must not be compared" in text and "Protocol: other noise" in text


def test_a_search_that_was_not_disturbed_has_no_such_section(margin_search):
    assert robustness.markdown(margin_search) == ""
