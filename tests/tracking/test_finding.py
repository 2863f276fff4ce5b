"""Reading runs: a user's words select what they say, and say what there is when they select nothing."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from mlflow.entities import Metric

from vgsr import tracking
from vgsr.tracking import FAILED, PRUNED, TrackingError

from ..written import open_run


@pytest.fixture(scope="module")
def comparison(tracker, finished):
    """Two arms of two seeds, a control, a searched trial, a failed and a pruned run; run name → id."""
    parent = finished("cmp", "", 1.0)
    made = {}
    for arm, eers in {"MKD": (0.2, 0.1), "hard KD": (0.4, 0.3)}.items():
        for seed, eer in enumerate(eers):
            name = f"{arm}, seed {seed}"
            tags = {"vgsr.reference": arm, tracking.PARENT: parent}
            made[name] = finished("cmp", f"{arm[0]}{seed}", eer, name=name, seed=seed, **tags)
    name = "shuffled [control: shuffled]"
    tags = {"vgsr.reference": "shuffled", "vgsr.control": "shuffled", tracking.PARENT: parent}
    made[name] = finished("cmp", "c0", 0.5, name=name, seed=0, **tags)
    made["μ=0.3"] = finished("cmp", "1e95473e", 0.25, name="μ=0.3", seed=0, **{tracking.PARENT: parent})
    finished("cmp", "f0", 0.9, FAILED, name="broken, seed 0", seed=0, **{tracking.PARENT: parent})
    finished("cmp", "p0", 0.9, PRUNED, name="slow, seed 0", seed=0, **{tracking.PARENT: parent})
    made["parent"] = parent
    return made


def names(runs):
    return [run.name for run in runs]


def test_an_arm_is_the_reference_or_the_trial(tracker, comparison):
    runs = {run.name: run for run in tracking.trials(tracker, comparison["parent"])}
    assert (runs["MKD, seed 1"].arm, runs["MKD, seed 1"].seed) == ("MKD", 1)
    assert (runs["μ=0.3"].arm, runs["μ=0.3"].seed) == ("1e95473e", 0)


def test_a_search_selects_its_completed_trials_best_first(tracker, comparison):
    want = ["MKD, seed 1", "MKD, seed 0", "μ=0.3", "hard KD, seed 1", "hard KD, seed 0", "shuffled [control: shuffled]"]
    assert names(tracking.select(tracker, "cmp")) == want
    assert names(tracking.select(tracker, comparison["parent"])) == want


@pytest.mark.parametrize(
    ("arm", "want"),
    [
        ("MKD", ["MKD, seed 1", "MKD, seed 0"]),
        ("MKD, seed 0", ["MKD, seed 0"]),
        ("1e95473e", ["μ=0.3"]),
        ("*KD", ["MKD, seed 1", "MKD, seed 0", "hard KD, seed 1", "hard KD, seed 0"]),
        ("*seed 1", ["MKD, seed 1", "hard KD, seed 1"]),
        ("shuffled [control: shuffled]", ["shuffled [control: shuffled]"]),
    ],
)
def test_an_arm_selects_by_arm_name_or_pattern(tracker, comparison, arm, want):
    assert names(tracking.select(tracker, f"cmp/{arm}")) == want


def test_a_run_id_selects_that_run_whatever_became_of_it(tracker, comparison, finished):
    failed = finished("other", "t0", 0.9, FAILED)
    assert [run.run_id for run in tracking.select(tracker, failed)] == [failed]
    assert names(tracking.select(tracker, comparison["hard KD, seed 0"])) == ["hard KD, seed 0"]


def test_a_single_training_is_selected_by_its_name(tracker, finished):
    run = finished("mine-1a2b", "single", 0.3, name="mine-1a2b")
    assert [found.run_id for found in tracking.select(tracker, "mine-1a2b")] == [run]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("cmo", "no run and no search 'cmo' .* did you mean 'cmp'"),
        ("cmp/MKT", "no arm or run 'MKT' in search 'cmp'; did you mean 'MKD'"),
        ("cmp/broken*", r"no run of 'cmp/broken\*' is completed \(broken, seed 0: failed\)"),
        ("0" * 32, "no run and no search '00"),
        ("cmp' or 'a' = 'a", "no run and no search"),
    ],
)
def test_what_selects_nothing_says_what_there_is(tracker, comparison, selection, message):
    with pytest.raises(TrackingError, match=message):
        tracking.select(tracker, selection)


def test_history_goes_by_step_and_the_last_value_of_a_step_wins(tracker):
    run = open_run(tracker, search="history", trial="t", name="t", tags={}, experiment=None)
    values = [(2, 0.2, 10), (1, 0.1, 30), (1, 0.9, 20), (3, 0.3, 5)]
    for step, value, time in values:
        tracker.client.log_metric(run, "val_eer", value, timestamp=time, step=step)
    # Other databases than SQLite give them in any order.
    logged = [Metric("val_eer", value, time, step) for step, value, time in values]
    unordered = replace(tracker, client=SimpleNamespace(get_metric_history=lambda *asked: logged))
    for store in (tracker, unordered):
        assert tracking.history(store, run, "val_eer") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert tracking.history(tracker, run, "none") == []


def test_trials_of_a_search_are_its_children(tracker, finished):
    parent = finished("family", "", 1.0)
    runs = [finished("family", f"t{n}", 0.1 * n, **{tracking.PARENT: parent}) for n in (3, 1, 2)]
    assert [run.run_id for run in tracking.trials(tracker, parent)] == [runs[1], runs[2], runs[0]]
    assert tracking.search_run(tracker, "family") == parent
