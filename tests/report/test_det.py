import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.special import ndtr

from vgsr import style
from vgsr.evaluation.metrics import Det, det
from vgsr.report.collect import Arm
from vgsr.report.det import curve, mean, plot

TRIALS = "mine_clips"


def test_of_one_seed_the_curve_is_that_of_its_scores(comparison):
    arm = Arm("hard KD", comparison.arm("hard KD").runs[:1])
    table = pq.read_table(comparison.scores["hard KD-0"][TRIALS])
    found = curve(arm, TRIALS, comparison.scores)
    expected = det(table["score"].to_numpy(), table["label"].to_numpy())
    assert np.array_equal(found.miss, expected.miss) and np.array_equal(found.false_alarm, expected.false_alarm)


def test_of_several_seeds_it_is_their_mean_miss_probit_at_each_false_alarm_rate():
    # Gaussian scores give straight lines: a mean of lines is the line of their mean offset.
    alarms = np.linspace(2.0, -2.0, 30)
    lines = [Det(offset - slope * alarms, alarms) for offset, slope in ((-1.0, 1.0), (-2.0, 0.5), (0.3, 1.2))]
    found = mean(lines)
    assert np.allclose(found.miss, np.mean([-1.0, -2.0, 0.3]) - 0.9 * found.false_alarm)
    assert (np.diff(found.false_alarm) < 0).all()


def test_the_mean_ends_where_a_curve_ends():
    wide, narrow = np.linspace(2.5, -2.5, 9), np.linspace(2.0, -1.0, 9)
    found = mean([Det(-wide, wide), Det(-narrow, narrow)])
    assert (found.false_alarm.min(), found.false_alarm.max()) == (-1.0, 2.0)


def test_the_mean_curve_lies_between_its_seeds(comparison):
    arm = comparison.arm("MKD + QAW")
    tables = [pq.read_table(comparison.scores[run.run_id][TRIALS]) for run in arm.completed]
    found = curve(arm, TRIALS, comparison.scores)
    for alarm, miss in list(zip(found.false_alarm, found.miss, strict=True))[20:-20:20]:
        misses = []
        for table in tables:
            score, label = table["score"].to_numpy(), table["label"].to_numpy()
            # Scalar truth: the threshold that lets so many impostors through, give or take one of them.
            ranked = np.sort(score[label == 0])[::-1]
            accepted = ndtr(alarm) * len(ranked)
            for count in (int(np.floor(accepted)) - 1, int(np.ceil(accepted)) + 1):
                threshold = ranked[min(max(count, 0), len(ranked) - 1)]
                misses.append((score[label == 1] < threshold).mean())
        assert min(misses) - 0.002 <= ndtr(miss) <= max(misses) + 0.002


def test_axes_are_in_per_cent_and_square(comparison):
    looks = style.looks([arm.name for arm in comparison.arms], "no teacher", ["shuffled faces"])
    with style.styled():
        (axes,) = plot(comparison, looks).figure.axes
    assert axes.get_xlim() == axes.get_ylim()
    for place, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        assert 100 * ndtr(place) == pytest.approx(float(text.get_text()))
    assert [line.get_label() for line in axes.get_lines()][:-1] == [arm.name for arm in comparison.shown]


def test_without_score_tables_there_is_no_curve(margin_search):
    assert plot(margin_search, {}) == "no run has a score table"
