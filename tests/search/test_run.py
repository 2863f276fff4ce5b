"""The frame of a search: its flags, its bill, and runs that a killed driver left open."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from vgsr.config import ConfigError
from vgsr.search import run, stages
from vgsr.search.attempts import Bill, Cost
from vgsr.search.plan import ROW, TRIAL, Stage
from vgsr.tracking import COMPLETED, RUNNING, TrackedRun


def test_a_dry_run_may_be_asked_for_anywhere():
    assert run.flags(["trials=3", "--dry-run", "top=1"]) == (True, ["trials=3", "top=1"])
    assert run.flags(["trials=3"]) == (False, ["trials=3"])


@pytest.mark.parametrize(
    ("flag", "said"), [("--dry", "did you mean '--dry-run'"), ("--trials=3", "unknown flag"), ("-n", "unknown flag")]
)
def test_any_other_flag_is_a_mistake(flag, said):
    with pytest.raises(ConfigError, match=said):
        run.flags(["trials=3", flag])


def test_the_bill_is_figures_of_the_search():
    cost, free = (Cost(gpu_seconds=g, cpu_seconds=c, money=m) for g, c, m in ((3600, 7200, 2.5), (0, 60, None)))
    bill = Bill(cost, cost, free, free, free, free, cost, "USD")
    figures = run._bill(SimpleNamespace(bill=lambda: bill))
    assert figures["spent_gpu_seconds"] == 3600 and figures["saved_cost"] == 2.5
    assert figures["pruned_cpu_seconds"] == 60 and "pruned_cost" not in figures


def test_runs_that_a_killed_driver_left_open_are_closed_as_what_they_were(monkeypatch, tiny_experiment):
    """One that Tune never knew is lost; one that ended ends so; one that failed keeps its error; others are left."""

    def left(trial, state=RUNNING):
        return TrackedRun(trial, trial, state, {"vgsr.trial": trial}, {}, {}, 1.0)

    def ended(trial, epoch, error=None):
        row = {"epoch": epoch, "best_checkpoint": "00002"}
        return SimpleNamespace(metrics={"config": {TRIAL: trial}, ROW: row}, error=error)

    found = [left("forgotten"), left("whole"), left("cut"), left("crashed"), left("closed", COMPLETED)]
    monkeypatch.setattr(stages, "runs", lambda tools, stage: found)
    calls = []
    outbox = SimpleNamespace(
        row=lambda search, trial, row: calls.append(("row", trial)),
        tag=lambda search, trial, tags: calls.append(("tag", trial, tags["vgsr.checkpoint"])),
        close_run=lambda search, trial, state, reason: calls.append(("close", trial, state, reason)),
    )
    phase = {"name": "more", "epochs": 1}
    experiment = tiny_experiment({"train.epochs": 1, "phases": [phase]})
    search = SimpleNamespace(search_id="s", storage="/s", experiment=experiment)
    attempts = SimpleNamespace(ended=lambda *_: None)
    tools = stages.Tools(search, None, outbox, "", attempts, {}, Console(quiet=True))
    results = [ended("whole", 2), ended("cut", 1), ended("crashed", 1, ValueError("why")), ended("closed", 2)]
    results.append(SimpleNamespace(metrics={"config": {TRIAL: "never"}}, error=ValueError("before its first result")))
    known = stages._ended(results)
    assert list(known) == ["whole", "cut", "crashed", "closed"]
    stages._close_lost(tools, Stage("search", (), 5), known)
    assert [call[1:] for call in calls if call[0] == "close"] == [
        ("forgotten", "failed", "lost when the search's driver was killed"),
        ("whole", "completed", ""),
        ("cut", "pruned", "stopped by ASHA after epoch 1"),
        ("crashed", "failed", "why"),
    ]
    assert [call[1] for call in calls if call[0] == "row"] == ["whole", "cut", "crashed"]
    assert ("tag", "whole", "/s/train/whole/00002") in calls
