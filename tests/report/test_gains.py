from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from vgsr.evaluation import score_files, significance
from vgsr.report.collect import Arm
from vgsr.report.gains import Gain, Interval, gains, p_value, signed

TRIALS = "mine_clips"
KEY = f"test_{TRIALS}_eer"


def interval(low: float, high: float) -> Interval:
    return Interval(low, high, 0.01, "40 speakers")


@pytest.mark.parametrize(
    "low, high, verdict",
    [
        (0.01, 0.2, "better"),
        (-0.2, -0.01, "worse"),
        (-0.1, 0.1, "no difference shown"),
        (0.0, 0.1, "no difference shown"),
        (-0.1, 0.0, "no difference shown"),
    ],
)
def test_a_verdict_takes_the_whole_interval(low, high, verdict):
    assert Gain(0.05, interval(low, high)).verdict == verdict


def test_it_says_worse_when_it_is_worse():
    assert Gain(-0.2, interval(-0.3, -0.1)).told("no teacher") == (
        "20.0 % worse than no teacher (95 % interval −30.0 to −10.0 %)"
    )
    assert Gain(0.2, interval(-0.1, 0.3)).told("B").startswith("no difference shown to B (+20.0 %, ")
    assert Gain(-0.2, "why").told("B") == "20.0 % worse than B (no interval)"
    assert Gain(0.0, "why").told("B") == "as good as B (no interval)"


@pytest.mark.parametrize("name, verdict", [("MKD + QAW", "better"), ("hard KD", "worse")])
def test_gain_and_interval_are_those_of_the_figures_and_tables(comparison, name, verdict):
    arm, baseline = comparison.arm(name), comparison.arm("no teacher")
    found = gains(comparison)(arm, baseline, TRIALS)
    own, theirs = (sum(run.figures[KEY] for run in one.completed) / 3 for one in (arm, baseline))
    assert found.relative == pytest.approx((theirs - own) / theirs)
    a, b = ([score_files.read(comparison.scores[f"{n}-{s}"][TRIALS]) for s in range(3)] for n in (name, baseline.name))
    direct = significance.compare(a, b, seeds_paired=True)
    assert (found.interval.low, found.interval.high) == (-direct.high, -direct.low)
    assert (found.interval.p, found.verdict) == (direct.p, direct.verdict) == (direct.p, verdict)
    assert found.interval.low < found.relative < found.interval.high
    assert "3 paired seeds" in found.interval.basis


def test_other_seeds_are_not_paired_and_none_is_left_out(comparison):
    short = replace(comparison.arm("MKD + QAW"), runs=comparison.arm("MKD + QAW").runs[:2])
    baseline = comparison.arm("no teacher")
    found = gains(comparison)(short, baseline, TRIALS)
    assert found.relative == pytest.approx(1 - short.figure(KEY).mean / baseline.figure(KEY).mean)
    assert "2 and 3 seeds, not paired" in found.interval.basis


def test_one_seed_is_a_caution(comparison):
    one, other = (Arm(name, comparison.arm(name).runs[:1]) for name in ("MKD + QAW", "no teacher"))
    found = gains(comparison)(one, other, TRIALS)
    assert any("one seed each" in warning for warning in found.interval.warnings)


def test_a_missing_table_leaves_a_gain_without_interval(comparison):
    scores = {**comparison.scores, "MKD + QAW-1": {}}
    found = gains(replace(comparison, scores=scores))(comparison.arm("MKD + QAW"), comparison.arm("no teacher"), TRIALS)
    assert (found.interval, found.verdict) == ("score tables are missing", None)
    assert found.relative > 0.5


def test_tables_of_another_list_or_of_other_figures_give_no_interval(comparison, tmp_path):
    place = tmp_path / f"{TRIALS}.parquet"
    table = pq.read_table(comparison.scores["MKD + QAW-0"][TRIALS])
    arm, baseline = (Arm(name, comparison.arm(name).runs[:1]) for name in ("MKD + QAW", "no teacher"))
    changed = replace(comparison, scores={**comparison.scores, "MKD + QAW-0": {TRIALS: place}})
    pq.write_table(table.slice(0, 1900), place)
    assert "100 trials" in gains(changed)(arm, baseline, TRIALS).interval
    pq.write_table(pq.read_table(comparison.scores["hard KD-0"][TRIALS]), place)
    assert gains(changed)(arm, baseline, TRIALS).interval == "its score tables have another EER than MLflow has"


def test_nothing_is_gained_over_what_never_errs_or_was_not_tested(comparison, tracked_run):
    found, arm = gains(comparison), comparison.arm("hard KD")
    assert found(arm, Arm("perfect", (tracked_run("perfect", figures={KEY: 0.0}),)), TRIALS) is None
    assert found(arm, comparison.arm("no teacher"), "other_list") is None


def test_a_gain_is_computed_once(comparison, monkeypatch):
    found = gains(comparison)
    first = found(comparison.arm("hard KD"), comparison.arm("no teacher"), TRIALS)
    monkeypatch.setattr(significance, "compare", None)
    assert found(comparison.arm("hard KD"), comparison.arm("no teacher"), TRIALS) is first


def test_numbers_are_written_with_as_much_as_they_say():
    assert (signed(0.1234), signed(-0.05)) == ("+12.3", "−5.0")
    assert (p_value(0.00099), p_value(0.0123)) == ("< 0.001", "0.012")
