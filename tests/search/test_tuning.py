"""Searcher and scheduler: references first and whole, everything else as Optuna and ASHA do it."""

import subprocess
import sys
from types import SimpleNamespace

import optuna
import pytest
from ray import cloudpickle
from ray.tune.schedulers import TrialScheduler

from vgsr.search import Base, Plan, tuning
from vgsr.search.plan import CONFIRMED, METRIC, NOISY_METRIC, REFERENCE, ROW, TRIAL, Stage, bind, parse


def space(trial, base):
    if trial.suggest_categorical("unit", ["absolute", "quantile"]) == "absolute":
        margin = trial.suggest_float("margin", *base.method.margin_range)
    else:
        margin = trial.suggest_float("level", 0.1, 0.9)
    return {"distill.margin.value": margin}


REFERENCES = {"no teacher": {"distill": {"method": "none"}}, "hard": {"distill.margin.value": 0.0}}
BOTH = (METRIC, NOISY_METRIC)


@pytest.fixture
def searching(tiny_experiment, tmp_path):
    changes = {"train.epochs": 8, "distill.margin.unit": "absolute", "evaluate.noise": str(tmp_path)}
    (tmp_path / "e.yaml").write_text(tiny_experiment(changes).yaml())
    arguments = [f"experiment={tmp_path / 'e.yaml'}", "grace=2", "trials=20", "top=0", "seeds=1"]

    def bound(*metrics):
        plan = Plan("test", space, REFERENCES, metrics)
        experiment, settings = parse(plan, arguments)
        return bind(plan, Base(experiment, ()), settings, "data")

    return bound


@pytest.fixture
def search(searching):
    return searching(METRIC)


def test_references_come_first_and_optuna_never_hears_of_them(search):
    searcher = tuning.searcher(search, search.first)
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


def test_two_figures_are_searched_for_at_once(searching):
    search = searching(*BOTH)
    searcher = tuning.searcher(search, search.first)
    assert isinstance(searcher._ot_study.sampler, optuna.samplers.NSGAIISampler)
    points = {}
    for n in range(12):
        chosen = searcher.suggest(f"t{n}")
        if REFERENCE not in chosen:
            points[f"t{n}"] = (chosen["distill.margin.value"], (n % 4) / 10)
            result = dict(zip(BOTH, points[f"t{n}"], strict=True))
            searcher.on_trial_result(f"t{n}", result | {"training_iteration": 1})
            searcher.on_trial_complete(f"t{n}", result)
    study = searcher._ot_study
    assert [trial.values for trial in study.trials] == [list(point) for point in points.values()]
    assert {tuple(trial.values) for trial in study.best_trials} == {
        p for p in points.values() if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points.values())
    }


@pytest.mark.parametrize("metrics", [BOTH, (METRIC,)])
def test_what_a_trial_reports(searching, metrics, monkeypatch):
    """Every searched figure, the worst for a run that broke before its first epoch ended, and a wrong name at once."""
    reported = []
    monkeypatch.setattr(tuning.tune, "report", reported.append)
    whole = {"epoch": 1, METRIC: 0.25, NOISY_METRIC: 0.5}
    rows = [whole, {"epoch": 1, "diverged": True, METRIC: 1.0}, {"epoch": 2, METRIC: 0.2}]
    monkeypatch.setattr(tuning.launch, "fit", lambda *_, on_row, **__: [on_row(row) for row in rows[: len(kept)]])
    kept = rows[:2]
    trial = tuning.trial_function(searching(*metrics))
    trial({TRIAL: "s0001-abcdef"})
    wanted = [{name: whole[name] for name in metrics}, dict.fromkeys(metrics, 1.0)]
    assert [{name: one[name] for name in metrics} for one in reported] == wanted
    assert [one["row"] for one in reported] == kept
    kept = rows
    if NOISY_METRIC in metrics:
        with pytest.raises(KeyError, match=NOISY_METRIC):
            trial({TRIAL: "s0001-abcdef"})


def test_a_restored_searcher_goes_on_where_it_was(search, tmp_path):
    searcher = tuning.searcher(search, search.first)
    for n in range(4):
        searcher.suggest(f"t{n}")
    searcher.on_trial_complete("t3", {METRIC: 0.2})
    searcher.save(str(tmp_path / "state"))
    again = tuning.searcher(search, search.first)
    again.restore(str(tmp_path / "state"))
    assert REFERENCE not in again.suggest("t4")
    assert [t.values for t in again._ot_study.trials if t.values is not None] == [[0.2]]
    again.on_trial_complete("t0", {METRIC: 0.9})  # a reference of before the restart
    assert len(again._ot_study.trials) == 3


def test_a_trial_is_called_by_its_number_and_its_configuration_before_and_after_a_restart(search, tmp_path):
    """A trial that was suggested after the last state was written is suggested again, by the same name."""
    searcher = tuning.searcher(search, search.first)
    names = [searcher.suggest(f"t{n}")[TRIAL] for n in range(3)]
    searcher.save(str(tmp_path / "state"))
    names += [searcher.suggest(f"t{n}")[TRIAL] for n in (3, 4)]
    assert [name[:5] for name in names] == ["s0001", "s0002", "s0003", "s0004", "s0005"] and len({*names}) == 5
    again = tuning.searcher(search, search.first)
    again.restore(str(tmp_path / "state"))
    assert [again.suggest(f"u{n}")[TRIAL] for n in (3, 4)] == names[3:]
    anew = tuning.searcher(search, search.first)  # killed before the first state
    assert [anew.suggest(f"v{n}")[TRIAL] for n in range(3)] == names[:3]


def test_a_stage_of_fixed_configurations_is_these_and_nothing_else(search):
    stage = Stage(CONFIRMED, ({REFERENCE: "a", "seed": 1}, {REFERENCE: "a", "seed": 2}))
    searcher = tuning.searcher(search, stage)
    given = [searcher.suggest(f"t{n}") for n in range(stage.size)]
    assert [one.pop(TRIAL)[:6] for one in given] == ["c0001-", "c0002-"]
    assert given == [dict(one) for one in stage.fixed]


def test_a_start_and_a_stall_are_no_epochs(search):
    """What Tune hands on is flattened; the scheduler does not take it for figures."""
    scheduler = tuning.scheduler(search)
    scheduler.set_search_properties(None, None)
    scheduler.on_trial_add(None, trial("t0"))
    worst = {"epoch": 4, METRIC: 1.0, "training_iteration": 1}
    for content in ({f"{ROW}/started/attempt": "a", f"{ROW}/started/epoch": 4}, {f"{ROW}/stalled": "since 9 s"}):
        assert scheduler.on_trial_result(None, trial("t0"), worst | content) == TrialScheduler.CONTINUE
        scheduler.on_trial_complete(None, trial("t0"), worst | content)
    assert not any(recorded for bracket in scheduler._brackets for _, recorded in bracket._rungs)
    epoch = worst | {f"{ROW}/epoch": 4, f"{ROW}/val_eer": 0.5, METRIC: 0.5, "training_iteration": 2}
    scheduler.on_trial_result(None, trial("t0"), epoch)
    assert any(recorded for bracket in scheduler._brackets for _, recorded in bracket._rungs)


def test_a_stalled_trial_ends_with_its_reason_and_its_last_figures(searching, monkeypatch):
    reported = []
    monkeypatch.setattr(tuning.tune, "report", reported.append)

    def fit(experiment, *, name, storage, on_row, on_started, retries, stall_seconds, keep):
        assert (name, retries, stall_seconds, keep) == ("s0001-abcdef", 0, 900, True)
        on_started({"attempt": "a", "epoch": 1})
        on_row({"epoch": 2, METRIC: 0.25})
        raise tuning.launch.Stalled("no sign of life for 900 s")

    monkeypatch.setattr(tuning.launch, "fit", fit)
    tuning.trial_function(searching(METRIC))({TRIAL: "s0001-abcdef"})
    started, epoch, stalled = reported
    assert started == {"epoch": 1, METRIC: 1.0, ROW: {"started": {"attempt": "a", "epoch": 1}}}
    assert epoch == {"epoch": 2, METRIC: 0.25, ROW: {"epoch": 2, METRIC: 0.25}}
    assert stalled == {"epoch": 2, METRIC: 0.25, ROW: {"epoch": 2, "stalled": "no sign of life for 900 s"}}


def trial(name, reference=False):
    return SimpleNamespace(trial_id=name, config={REFERENCE: name} if reference else {})


def test_a_reference_is_never_pruned_and_prunes_nobody(search):
    scheduler = tuning.scheduler(search)
    assert scheduler.set_search_properties(None, None)  # as Tune does: its own metric is not set
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
    pickled.write_bytes(cloudpickle.dumps(tuning.trainable(search)))
    code = (
        "import sys; from ray import cloudpickle; cloudpickle.loads(open(sys.argv[1], 'rb').read())\n"
        "assert 'vgsr.training.launch' in sys.modules\n"
        "print([name for name in ('mlflow', 'vgsr.search', 'vgsr.corpora') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(pickled)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
