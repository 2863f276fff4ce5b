"""Plans: what the command line may say, and what decides a search's identity."""

import pytest
import yaml

from vgsr.config import ConfigError
from vgsr.search import Plan
from vgsr.search.plan import REFERENCE, bind
from vgsr.search.plan import parse as parse_arguments


def space(trial, method):
    margin = trial.suggest_float("margin", *method.margin_range)
    return {"distill.margin.value": margin}


def parse(plan, arguments, data="d"):
    return bind(plan, *parse_arguments(arguments), data)


PLAN = Plan("test-search", space, {"no teacher": {"distill.method": "none"}})


@pytest.fixture
def file(tiny_experiment, tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(tiny_experiment().yaml())
    return f"experiment={path}"


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("trails=3", "did you mean 'trials'"),
        ("trian.epochs=3", "did you mean 'train'"),
        ("train.epoch=3", "did you mean 'epochs'"),
        ("trials=0", "trials"),
        ("distill.method=none", "no distillation"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(file, argument, said):
    with pytest.raises(ConfigError, match=said):
        parse(PLAN, [file, argument])


def test_no_argument_means_the_demo(monkeypatch, tmp_path):
    monkeypatch.setenv("VGSR_HOME", str(tmp_path))
    search = parse(PLAN, [])
    assert search.experiment.name == "demo" and str(tmp_path) in search.experiment.corpus.manifest


def test_the_same_command_is_the_same_search_and_any_change_another(file):
    base = parse(PLAN, [file]).search_id
    assert parse(PLAN, [file]).search_id == base
    assert parse(PLAN, [file, "concurrent=2"]).search_id == base
    others = {
        parse(PLAN, [file, "trials=7"]).search_id,
        parse(PLAN, [file], "other data").search_id,
        parse(PLAN, [file, "train.epochs=5"]).search_id,
        parse(Plan("test-search", space, {}), [file]).search_id,
        parse(Plan("test-search", lambda trial, method: {}, PLAN.references), [file]).search_id,
    }
    assert len(others) == 5 and base not in others


def test_a_trial_is_the_experiment_with_its_overrides(file):
    search = parse(PLAN, [file])
    chosen = {"margin": 0.25, "distill.margin.value": 0.25}
    assert search.experiment_of(chosen).distill.margin.value == 0.25
    assert search.experiment_of({REFERENCE: "no teacher", "distill.method": "none"}).distill.method == "none"
    assert search.title(chosen) == "margin=0.25"
    assert search.title({REFERENCE: "no teacher", "distill.method": "none"}) == "no teacher"


def test_the_methods_own_weight_is_filled_in(file, tmp_path):
    values = yaml.safe_load((tmp_path / "e.yaml").read_text())
    values["distill"].update(method="rkd_distance", weight=None)
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(values))
    assert parse(PLAN, [file]).experiment.distill.weight == 25
