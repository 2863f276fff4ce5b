"""The view that MLflow's UI opens: kept once, of the form that its page reads."""

import json

import pytest
from mlflow.exceptions import MlflowException

from vgsr import tracking
from vgsr.tracking import view


def kept(tracker, key):
    return json.loads(tracker.client.get_experiment(tracker.experiment_id).tags[f"mlflow.sharedViewState.{key}"])


def test_a_search_opens_with_its_trials_best_first(tracker, finished):
    parent = finished("viewed", "", 1.0)
    run = finished("viewed", "t0", 0.1, **{tracking.PARENT: parent})
    tracking.log_figures(tracker, run, {"test_vox1-o_eer": 0.2, "test_vox1-o_min_dcf_0.01": 0.3})
    link = tracking.link(tracker, "http://127.0.0.1:5000/", "viewed", tracking.trials(tracker, parent))
    place = f"http://127.0.0.1:5000/#/experiments/{tracker.experiment_id}/runs"
    assert link == f"{place}?workflowType=machine_learning&viewStateShareKey=viewed"
    state = kept(tracker, "viewed")
    assert (state["searchFilter"], state["orderByKey"], state["orderByAsc"]) == (
        "tags.vgsr.search = 'viewed'",
        "metrics.`best_val_eer`",
        True,
    )
    columns = state["selectedColumns"]
    assert columns.index("metrics.`best_val_eer`") < columns.index("metrics.`test_vox1-o_eer`")
    assert "metrics.`test_vox1-o_min_dcf_0.01`" not in columns and "params.`distill.method`" in columns
    assert set(state["columnWidths"]) == set(state["columnOrder"]) == {*columns, "attributes.`Run Name`"}
    # The filter is MLflow's own language: it finds what the page will show.
    found = tracker.client.search_runs(
        [tracker.experiment_id], state["searchFilter"], order_by=["metrics.best_val_eer"]
    )
    assert {found.info.run_id for found in found} == {parent, run}


def test_all_searches_have_one_view_too(tracker):
    assert tracking.link(tracker, "http://x").endswith("viewStateShareKey=vgsr")
    assert kept(tracker, "vgsr")["searchFilter"] == "" and "tags.`vgsr.search`" in kept(tracker, "vgsr")["columnOrder"]


def test_it_is_written_only_when_it_differs_and_may_be_missing(tracker, monkeypatch):
    tracking.link(tracker, "http://x", "once")
    writes = []

    def set_experiment_tag(*args):
        writes.append(args)
        raise MlflowException("you may only read")

    monkeypatch.setattr(tracker.client, "set_experiment_tag", set_experiment_tag)
    assert "viewStateShareKey=once" in tracking.link(tracker, "http://x", "once") and not writes
    assert "viewStateShareKey" not in tracking.link(tracker, "http://x", "never") and len(writes) == 1


@pytest.mark.parametrize("search", ["", "a-search-with-a-long-name-of-its-experiment-0123abcd"])
def test_it_fits_into_a_tag(search):
    assert len(view.view(search, [f"test_a-list-with-a-name-{n}_eer" for n in range(10)])) < 5000
