from dataclasses import replace

import numpy as np
import pytest

from vgsr import style, tracking
from vgsr.report import learning
from vgsr.report.collect import Arm


def test_a_curve_is_mean_and_range_over_the_seeds_epoch_by_epoch(comparison):
    arm = comparison.arm("hard KD")
    found = learning.curve(arm, comparison.histories)
    assert (found.runs, found.epochs.tolist()) == (3, [1, 2, 3, 4, 5, 6])
    for place, epoch in enumerate(found.epochs):
        values = [dict(comparison.histories[run.run_id])[epoch] for run in arm.completed]
        assert found.mean[place] == pytest.approx(sum(values) / 3)
        assert (found.low[place], found.high[place]) == (min(values), max(values))


def test_epochs_that_a_seed_lacks_are_left_out(tracked_run):
    arm = Arm("arm", (tracked_run("arm", seed=0), tracked_run("arm", seed=1)))
    histories = {"arm-0": [(1, 0.4), (2, 0.3), (3, 0.2)], "arm-1": [(1, 0.2), (3, 0.4)]}
    found = learning.curve(arm, histories)
    assert found.epochs.tolist() == [1, 3]
    assert np.allclose(found.mean, [0.3, 0.3])


def test_without_a_completed_run_there_is_no_curve(tracked_run):
    arm = Arm("arm", (tracked_run("arm", state=tracking.PRUNED),))
    assert learning.curve(arm, {"arm-0": [(1, 0.4)]}) is None


def test_every_history_is_in_the_plot_once(margin_search):
    looks = style.looks(["no teacher"], "no teacher", [])
    with style.styled():
        axes = learning.plot(margin_search, looks).figure.axes[0]
    assert len(axes.get_lines()) == 25
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["no teacher", "24 other runs"]


def test_a_search_without_epochs_says_so(margin_search):
    empty = replace(margin_search, histories={run.run_id: [] for run in margin_search.runs})
    assert learning.plot(empty, {}) == "no run has got through an epoch"
