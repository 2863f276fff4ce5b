"""What stage 2 runs: the best of what was completed, controls made of the winner, seeds that did not choose it."""

import pytest

from vgsr import config
from vgsr.search import Base, Plan, confirm
from vgsr.search.plan import CONFIRMED, METRIC, NOISY_METRIC, REFERENCE, bind, parse
from vgsr.tracking import COMPLETED, FAILED, PRUNED, RUNNING, TrackedRun

REFERENCES = {"no teacher": {"distill": {"method": "none"}}, "no weights": {"quality.signals": []}}


def space(trial, base):
    unit = trial.suggest_categorical("unit", ["absolute", "quantile"])
    return {"distill.margin.unit": unit, "distill.margin.value": trial.suggest_float("margin", 0.1, 0.9)}


PLAN = Plan("test", space, REFERENCES)


@pytest.fixture
def searching(tiny_experiment, tmp_path):
    def bound(*arguments, metrics=(METRIC,), changes=None, plan=PLAN):
        (tmp_path / "e.yaml").write_text(tiny_experiment(changes).yaml())
        storage = f"storage={tmp_path / 'searches'}"
        experiment, settings = parse(plan, [f"experiment={tmp_path / 'e.yaml'}", storage, *arguments])
        return bind(Plan(plan.name, plan.space, plan.references, metrics), Base(experiment, ()), settings, "data")

    return bound


def run(trial, eer, state=COMPLETED, control="none", noisy=None):
    figures = {METRIC: eer} if noisy is None else {METRIC: eer, NOISY_METRIC: noisy}
    return TrackedRun(trial, trial, state, {"vgsr.trial": trial, "vgsr.control": control}, {}, figures, 1.0)


def chosen(margin, unit="absolute"):
    return {"unit": unit, "margin": margin, "distill.margin.unit": unit, "distill.margin.value": margin, "trial": "?"}


RUNS = [
    run("pruned", 0.01, PRUNED),
    run("failed", 0.02, FAILED),
    run("shuffled", 0.03, control="shuffled"),
    run("still", 0.04, RUNNING),
    run("third", 0.3),
    run("first", 0.1),
    run("second", 0.2),
]
CHOSEN = {one.run_id: chosen(0.1 + number / 10) for number, one in enumerate(RUNS)}


def test_the_best_completed_results_are_confirmed(searching):
    found = confirm.choose(searching("top=2"), RUNS, CHOSEN)
    assert found.origin == {"top 1": "first", "top 2": "second"}
    assert found.arms["top 1"] == {"distill.margin.unit": "absolute", "distill.margin.value": pytest.approx(0.6)}
    assert list(found.arms) == ["top 1", "top 2", "no teacher", "no weights", "hard constraint", "shuffled faces"]


def test_of_several_figures_the_front_comes_first(searching, tmp_path):
    noisy = {"evaluate.noise": str(tmp_path)}
    search = searching("top=3", metrics=(METRIC, NOISY_METRIC), changes=noisy)
    points = {"quiet": (0.1, 0.4), "beaten": (0.11, 0.5), "robust": (0.3, 0.2), "also beaten": (0.2, 0.45)}
    runs = [run(name, eer, noisy=noise) for name, (eer, noise) in points.items()]
    found = confirm.choose(search, runs, {name: chosen(n / 10 + 0.1) for n, name in enumerate(points)})
    assert list(found.origin.values()) == ["quiet", "robust", "beaten"]


def test_every_control_is_the_winner_changed_in_one_respect(searching):
    search = searching("top=1")
    found = confirm.choose(search, RUNS, CHOSEN)
    flat = {name: search.experiment_of(own).flat() for name, own in found.arms.items()}

    def differs(name):
        return {key for key in {*flat[name]} | {*flat["top 1"]} if flat[name].get(key) != flat["top 1"].get(key)}

    assert differs("shuffled faces") == {"teacher.control"} and flat["shuffled faces"]["teacher.control"] == "shuffled"
    assert (
        differs("hard constraint") == {"distill.margin.value"} and flat["hard constraint"]["distill.margin.value"] == 0
    )
    assert differs("no weights") == {"quality.signals"}
    without = search.experiment_of(found.arms["no teacher"])
    assert (
        without.taught == () and not without.quality.signals
    )  # the plain baseline, whatever the plan's reference says


def test_several_distillations_are_all_made_hard(searching):
    def quality(trial, base):
        return {"quality.floor": trial.suggest_float("floor", 0, 1)}

    both = {"distill": [{"method": "cosine", "margin": {"value": 0.2}}, {"method": "rkd_distance"}]}
    search = searching("top=1", changes=both, plan=Plan("test", quality, {}))
    found = confirm.choose(search, [run("a", 0.1)], {"a": {"floor": 0.5, "quality.floor": 0.5}})
    hard = search.experiment_of(found.arms["hard constraint"])
    assert [(one.method, one.margin.kind, one.margin.unit, one.margin.value) for one in hard.taught] == [
        ("cosine", "hinge", "absolute", 0.0),
        ("rkd_distance", "hinge", "absolute", 0.0),
    ]
    assert hard.quality.floor == 0.5


def test_what_would_be_the_same_over_again_does_not_run_twice(searching):
    search = searching("top=2", changes={"quality.signals": []})
    twins = {"first": chosen(0.0), "second": chosen(0.0), "third": chosen(0.5)}
    found = confirm.choose(search, RUNS, CHOSEN | twins)
    assert found.origin == {"top 1": "first", "top 2": "third"}
    assert found.same == {"no weights": "top 1", "hard constraint": "top 1"}
    assert list(found.arms) == ["top 1", "top 2", "no teacher", "shuffled faces"]


def test_without_a_result_there_is_nothing_to_confirm(searching):
    found = confirm.choose(searching("top=2"), RUNS[:4], CHOSEN)
    assert found.arms == {} and found.stage(searching("top=2")).size == 0


def test_the_seed_that_chose_does_not_judge(searching):
    search = searching("top=2", "seeds=3", "seed=5")
    stage = confirm.choose(search, RUNS, CHOSEN).stage(search)
    assert stage.name == CONFIRMED and stage.searched == 0 and stage.size == 6 * 3
    arms = {}
    for one in stage.fixed:
        arms.setdefault(one[REFERENCE], []).append(search.experiment_of(one).seed)
    assert set(map(tuple, arms.values())) == {(6, 7, 8)}
    assert search.title(stage.fixed[-1]) == "shuffled faces, seed 8 [control: shuffled]"


def test_the_choice_is_kept_as_it_was(searching):
    search = searching("top=2")
    assert confirm.recorded(search) is None
    found = confirm.choose(search, RUNS, CHOSEN)
    confirm.record(search, found)
    again = confirm.recorded(search)
    assert again == found and again.stage(search) == found.stage(search)


def test_a_change_replaces_what_was_chosen_inside_it():
    earlier = {"distill.margin.value": 0.5, "distill.weight": 2, "distillation": 1, "quality.floor": 0.1}
    assert confirm.changed(earlier, {"distill": {"method": "none"}}) == {
        "distillation": 1,
        "quality.floor": 0.1,
        "distill": {"method": "none"},
    }
    later = confirm.changed({"distill": {"method": "cosine"}}, {"distill.margin.value": 0.0})
    assert list(later) == ["distill", "distill.margin.value"] and config.overrides_in(later) == later
