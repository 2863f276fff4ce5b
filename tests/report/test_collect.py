import statistics

import pytest

from vgsr import tracking
from vgsr.report.collect import Arm, ReportError, collect

from ..written import open_run

KEY = "test_mine_clips_eer"


def test_what_was_put_into_mlflow_comes_out(store):
    found = collect(store.tracker, store.expected.name)
    assert found.lists == ["mine_clips"]
    assert {arm.name for arm in found.arms} == {arm.name for arm in store.expected.arms}
    assert (found.synthetic, found.finished) == (True, True)
    for arm in found.arms:
        expected = store.expected.arm(arm.name)
        kept = {seed: value for seed, value in expected.values(KEY).items() if seed != 2}
        assert arm.values(KEY) == pytest.approx(kept)
        histories = {run.seed: store.expected.histories[run.run_id] for run in expected.runs}
        for run in arm.runs:
            assert found.histories[run.run_id] == histories[run.seed]
            assert list(found.scores[run.run_id]) == (["mine_clips"] if run.state == tracking.COMPLETED else [])


def test_controls_stand_after_results(store):
    assert [arm.control for arm in collect(store.tracker, store.expected.name).arms] == ["none"] * 3 + ["shuffled"]


def test_a_figure_is_mean_and_sample_deviation_of_completed_runs(tracked_run):
    values = [0.11, 0.14, 0.2]
    runs = [tracked_run("arm", seed=seed, figures={KEY: value}) for seed, value in enumerate(values)]
    lost = tracked_run("arm", seed=3, figures={KEY: 0.9}, state=tracking.FAILED)
    figure = Arm("arm", (*runs, lost)).figure(KEY)
    assert (figure.mean, figure.seeds) == (pytest.approx(statistics.fmean(values)), 3)
    assert figure.deviation == pytest.approx(statistics.stdev(values))
    assert Arm("arm", tuple(runs[:1])).figure(KEY).deviation is None
    assert Arm("arm", (lost,)).figure(KEY) is None


def test_searched_trials_are_shown_when_they_were_tested(comparison, margin_search):
    assert [arm.name for arm in margin_search.shown] == ["no teacher"]
    assert len(comparison.shown) == 4


def test_a_name_that_does_not_exist_names_the_nearest(store):
    with pytest.raises(tracking.TrackingError, match="comparison-mine-1a2b3c4d"):
        collect(store.tracker, "comparison-mine-1a2b3c4e")


def test_a_run_is_not_a_search(store):
    run = tracking.select(store.tracker, store.expected.name)[0]
    with pytest.raises(ReportError, match="is not a search"):
        collect(store.tracker, run.run_id)


def test_a_search_without_trials_has_nothing_to_report(store):
    open_run(store.tracker, search="empty", trial="", name="empty", tags={}, experiment=None)
    with pytest.raises(ReportError, match="no trials yet"):
        collect(store.tracker, "empty")
