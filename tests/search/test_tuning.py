"""Searcher and scheduler: references first and whole, everything else as Optuna and ASHA do it."""

import subprocess
import sys
from types import SimpleNamespace

import optuna
import pytest
from ray import cloudpickle
from ray.tune.schedulers import TrialScheduler

from vgsr.search import Plan, tuning
from vgsr.search.plan import METRIC, REFERENCE, bind, parse


def space(trial, method):
    if trial.suggest_categorical("unit", ["absolute", "quantile"]) == "absolute":
        margin = trial.suggest_float("margin", *method.margin_range)
    else:
        margin = trial.suggest_float("level", 0.1, 0.9)
    return {"distill.margin.value": margin}


REFERENCES = {"no teacher": {"distill.method": "none"}, "hard": {"distill.margin.value": 0.0}}


@pytest.fixture
def search(tiny_experiment, tmp_path):
    (tmp_path / "e.yaml").write_text(tiny_experiment({"train.epochs": 8}).yaml())
    arguments = [f"experiment={tmp_path / 'e.yaml'}", "grace=2", "trials=20"]
    return bind(Plan("test", space, REFERENCES), *parse(arguments), "data")


def test_references_come_first_and_optuna_never_hears_of_them(search):
    searcher = tuning.searcher(search)
    given = [searcher.suggest(f"t{n}") for n in range(6)]
    assert [one.get(REFERENCE) for one in given] == ["no teacher", "hard", None, None, None, None]
    for n in range(6):
        searcher.on_trial_result(f"t{n}", {METRIC: 0.5 - n / 10, "training_iteration": 1})
        searcher.on_trial_complete(f"t{n}", {METRIC: 0.5 - n / 10})
    study = searcher._ot_study
    assert len(study.trials) == 4 and all(t.state == optuna.trial.TrialState.COMPLETE for t in study.trials)
    assert study.best_value == pytest.approx(0.0)
    for one in given[2:]:
        assert one["distill.margin.value"] == one.get("margin", one.get("level"))


def test_a_restored_searcher_goes_on_where_it_was(search, tmp_path):
    searcher = tuning.searcher(search)
    for n in range(4):
        searcher.suggest(f"t{n}")
    searcher.on_trial_complete("t3", {METRIC: 0.2})
    searcher.save(str(tmp_path / "state"))
    again = tuning.searcher(search)
    again.restore(str(tmp_path / "state"))
    assert REFERENCE not in again.suggest("t4")
    assert [t.value for t in again._ot_study.trials if t.value is not None] == [0.2]
    again.on_trial_complete("t0", {METRIC: 0.9})  # a reference of before the restart
    assert len(again._ot_study.trials) == 3


def trial(name, reference=False):
    return SimpleNamespace(trial_id=name, config={REFERENCE: name} if reference else {})


def test_a_reference_is_never_pruned_and_prunes_nobody(search):
    scheduler = tuning.scheduler(search)
    scheduler.set_search_properties(METRIC, "min")
    good, poor, reference = trial("good"), trial("poor"), trial("reference", True)
    for one in (good, poor, reference):
        scheduler.on_trial_add(None, one)

    def told(one, epoch, eer):
        return scheduler.on_trial_result(None, one, {"epoch": epoch, METRIC: eer})

    # A reference far better than all: without its sparing, `good` would be stopped at its first rung.
    assert told(reference, 2, 0.01) == TrialScheduler.CONTINUE
    assert told(good, 2, 0.2) == TrialScheduler.CONTINUE
    assert told(poor, 2, 0.4) == TrialScheduler.STOP
    assert told(reference, 4, 0.9) == TrialScheduler.CONTINUE
    # The last epoch is not cut off: the trial's own last lines must run.
    assert told(good, 8, 0.1) == TrialScheduler.CONTINUE


def test_a_trials_process_loads_neither_mlflow_nor_the_search(search, tmp_path):
    """Its imports are most of what a trial costs before its first step."""
    pickled = tmp_path / "trial"
    pickled.write_bytes(cloudpickle.dumps(tuning.trial_function(search)))
    code = (
        "import sys; from ray import cloudpickle; cloudpickle.loads(open(sys.argv[1], 'rb').read())\n"
        "assert 'vgsr.training.launch' in sys.modules\n"
        "print([name for name in ('mlflow', 'vgsr.search', 'vgsr.corpora') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(pickled)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
