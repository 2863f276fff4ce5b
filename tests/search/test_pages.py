"""The pages of `sweeps/`: whatever Optuna may choose there is a valid experiment, and nothing unknown is suggested."""

import importlib
import json
import pickle
from pathlib import Path

import optuna
import pytest

from vgsr import config
from vgsr.distill import METHODS
from vgsr.search import Base
from vgsr.search.plan import rehearse

PAGES = Path(__file__).resolve().parents[2] / "sweeps"
SIGNALS = ("face_norm", "speech_snr", "student_norm")
NAMES = ["margin_search", "method_search", "quality_search", "joint_search"]
TRIALS = 300


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(PAGES))
    return importlib.import_module


@pytest.fixture
def base(tiny_experiment):
    options = {"distill.method": "infonce", "distill.options": {"temperature": 0.2}, "distill.weight": 2.0}
    return Base(tiny_experiment(options), SIGNALS)


def chosen(space, base):
    """Every trial's parameters with what they make of the experiment."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(TRIALS):
        trial = study.ask()
        overrides = space(trial, base)
        yield trial.params, overrides, config.override(base.experiment, overrides)


@pytest.mark.parametrize("name", NAMES)
def test_every_choice_and_every_reference_is_an_experiment(page, base, name):
    module = page(name)
    for params, overrides, _ in chosen(module.space, base):
        # A parameter that is called like a section of the experiment would be taken for a change of it.
        assert not config.overrides_in(params)
        assert config.overrides_in(overrides) == dict(overrides)
    for overrides in module.REFERENCES.values():
        config.override(base.experiment, overrides)
    assert module.REFERENCES["no teacher"] == {"distill": {"method": "none"}}


def test_a_margin_and_a_weight_mean_the_same_for_every_method(page, base):
    seen = set()
    for params, _, experiment in chosen(page("method_search").space, base):
        (one,) = experiment.distill
        method = METHODS[one.method]
        seen.add(one.method)
        assert one.weight / method.weight == pytest.approx(params["factor"]) and 0.1 <= params["factor"] <= 10
        if one.margin.unit == "absolute":
            low, high = method.margin_range
            assert one.margin.value == pytest.approx(low + params["share"] * (high - low))
        else:
            assert one.margin.value == params["level"]
        # The experiment's own options belong to its own method alone.
        assert one.options == ({"temperature": 0.2} if one.method == "infonce" else {})
    assert seen == set(METHODS)


def test_the_references_of_a_method_search(page, base):
    references = page("method_search").REFERENCES
    hard = config.override(base.experiment, references["hard constraint"])
    assert (hard.distill[0].method, hard.distill[0].margin.kind, hard.distill[0].margin.value) == (
        "infonce",
        "hinge",
        0,
    )
    assert hard.distill[0].margin.unit == "absolute" and hard.distill[0].weight == 2.0
    shuffled = config.override(base.experiment, references["shuffled faces"])
    assert shuffled.teacher.control == "shuffled" and shuffled.distill == base.experiment.distill


@pytest.mark.parametrize("name", ["quality_search", "joint_search"])
def test_only_known_signals_are_suggested(page, base, name):
    sets = {experiment.quality.signals for *_, experiment in chosen(page(name).space, base)}
    assert {signal for signals in sets for signal in signals} == set(SIGNALS)
    assert len(sets) == 2 ** len(SIGNALS)
    for params, _, experiment in chosen(page(name).space, base):
        assert tuple(signal for signal in SIGNALS if params[signal]) == experiment.quality.signals


def test_quality_can_be_searched_over_several_distillations_and_a_margin_cannot(page, tiny_experiment):
    base = Base(tiny_experiment({"distill": [{"method": "cosine"}, {"method": "rkd_distance"}]}), SIGNALS)
    quality, margin = page("quality_search"), page("margin_search")
    configurations = rehearse(quality.PLAN, base)
    assert len({json.dumps(one) for one in configurations}) > 50
    with pytest.raises(config.ConfigError, match="2 of them"):
        rehearse(margin.PLAN, base)


def test_a_joint_search_chooses_all_that_the_others_choose(page, base):
    joint, method, quality = (page(name) for name in ("joint_search", "method_search", "quality_search"))
    keys = {key for _, overrides, _ in chosen(joint.space, base) for key in overrides}
    assert keys == {
        key for module in (method, quality) for _, overrides, _ in chosen(module.space, base) for key in overrides
    }
    assert set(joint.REFERENCES) == {*method.REFERENCES, *quality.REFERENCES}


def test_what_a_space_stands_on_is_small_and_can_be_pickled(base):
    pickled = pickle.dumps(base)
    assert pickle.loads(pickled) == base and len(pickled) < 10_000


def test_the_arms_of_a_comparison_differ_by_one_part_of_the_method(page, base):
    comparison = page("comparison")
    assert comparison.PLAN.space is None
    assert [config.override(base.experiment, one).digest for one in rehearse(comparison.PLAN, base)]
    arms = {name: config.override(base.experiment, changes) for name, changes in comparison.ARMS.items()}
    assert arms["MKD + QAW"].digest == base.experiment.digest
    assert arms["no teacher"].taught == ()
    (hard,), (loose,) = arms["hard KD"].taught, arms["MKD"].taught
    assert (hard.margin.value, hard.margin.unit) == (0.0, "absolute") and loose == base.experiment.taught[0]
    assert {name for name, arm in arms.items() if arm.quality.signals} == {"MKD + QAW", "shuffled faces"}
    assert {name: arm.teacher.control for name, arm in arms.items() if arm.teacher.control != "none"} == {
        "shuffled faces": "shuffled"
    }
    changed = {name: set(changes) for name, changes in comparison.ARMS.items()}
    assert changed["MKD"] < changed["hard KD"] and changed["shuffled faces"] == {"teacher.control"}
