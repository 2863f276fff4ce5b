"""Plans: what the command line may say, and what decides a search's identity."""

import pytest
import yaml

from vgsr.config import ConfigError
from vgsr.search import Base, Plan
from vgsr.search.plan import REFERENCE, TRIAL, bind
from vgsr.search.plan import parse as parse_arguments


def space(trial, base):
    margin = trial.suggest_float("margin", *base.method.margin_range)
    return {"distill.margin.value": margin}


def narrower(trial, base):
    return {"distill.margin.value": trial.suggest_float("margin", 0, 0.9 * base.method.margin_range[1])}


def parse(plan, arguments, data="d"):
    experiment, settings = parse_arguments(plan, arguments)
    return bind(plan, Base(experiment, ("speech_snr",)), settings, data)


PLAN = Plan("test-search", space, {"no teacher": {"distill": {"method": "none"}}})


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
        ("top=-1", "top"),
        ("stall=0", "stall"),
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
    for setting in ("concurrent=2", "stall=10", "prices=/some/where.yaml"):
        assert parse(PLAN, [file, setting]).search_id == base
    others = {
        parse(PLAN, [file, "trials=7"]).search_id,
        parse(PLAN, [file], "other data").search_id,
        parse(PLAN, [file, "train.epochs=5"]).search_id,
        parse(PLAN, [file, "top=2"]).search_id,
        parse(PLAN, [file, "seeds=2"]).search_id,
        parse(Plan("test-search", space, {}), [file]).search_id,
        parse(Plan("test-search", narrower, PLAN.references), [file]).search_id,
        parse(Plan("test-search", space, PLAN.references, ("best_val_min_dcf_0.01",)), [file]).search_id,
    }
    assert len(others) == 8 and base not in others


def test_a_search_is_what_its_space_does_and_not_how_that_is_written(file):
    def rewritten(trial, base):
        """Says the same in other words."""
        low, high = base.method.margin_range
        return {"distill.margin.value": trial.suggest_float("margin", low, high)}

    assert parse(Plan("test-search", rewritten, PLAN.references), [file]).search_id == parse(PLAN, [file]).search_id


def test_a_trial_is_the_experiment_with_its_overrides(file):
    search = parse(PLAN, [file])
    chosen = {"margin": 0.25, "distill.margin.value": 0.25}
    assert search.experiment_of(chosen).distill[0].margin.value == 0.25
    without = {REFERENCE: "no teacher", "distill": {"method": "none"}, TRIAL: "s0001-abcdef"}
    assert search.experiment_of(without).taught == ()
    assert search.title(chosen) == "margin=0.25"
    assert search.title(without) == "no teacher"
    assert search.title({"distill": {"method": "cosine"}, "face_norm": True, "student_norm": False}) == "face_norm"
    assert search.title({"face_norm": False, "quality.signals": []}) == "all off"


def test_references_run_once_with_each_seed(file):
    plan = Plan("test-comparison", None, {"no teacher": {"distill": {"method": "none"}}, "as it is": {}})
    search = parse(plan, [file, "seeds=3", "seed=5"])
    assert search.size == 6
    titles = [search.title(chosen) for chosen in search.references]
    assert titles == [f"{arm}, seed {seed}" for seed in (5, 6, 7) for arm in ("no teacher", "as it is")]
    assert [search.experiment_of(chosen).seed for chosen in search.references] == [5, 5, 6, 6, 7, 7]
    once = parse(plan, [file, "seeds=1"])
    assert [once.title(chosen) for chosen in once.references] == ["no teacher", "as it is"]
    for setting in ("trials=4", "top=1"):
        with pytest.raises(ConfigError, match="searches nothing"):
            parse(plan, [file, setting])
    assert parse(PLAN, [file, "seeds=2", "trials=3", "top=0"]).size == 3 + 2 * len(PLAN.references)


def test_with_a_second_stage_the_first_is_the_searched_trials_alone(file):
    search = parse(PLAN, [file, "seeds=2", "trials=3"])
    assert search.confirms and search.references == [] and search.size == 3
    assert not parse(PLAN, [file, "top=0"]).confirms and not parse(Plan("c", None, PLAN.references), [file]).confirms


def test_the_demo_confirms_less_unless_it_is_told_to(monkeypatch, tmp_path):
    monkeypatch.setenv("VGSR_HOME", str(tmp_path))
    assert parse(PLAN, []).settings.top == 1 < parse(PLAN, ["top=2"]).settings.top
    assert parse(Plan("test-comparison", None, PLAN.references), []).size == 3


def test_a_control_says_so_in_its_name(file):
    chosen = {"margin": 0.25, "distill.margin.value": 0.25}
    shuffled = {REFERENCE: "shuffled faces", "teacher.control": "shuffled"}
    assert parse(PLAN, [file]).title(shuffled) == "shuffled faces [control: shuffled]"
    controls = parse(PLAN, [file, "teacher.control=random"])
    assert controls.title(chosen) == "margin=0.25 [control: random]"
    assert controls.title({REFERENCE: "hard", "distill.margin.value": 0}) == "hard [control: random]"


@pytest.fixture
def several(file, tmp_path):
    values = yaml.safe_load((tmp_path / "e.yaml").read_text())
    values["distill"] = [{"method": "cosine"}, {"method": "rkd_distance"}]
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(values))
    return file


def test_settings_of_one_distillation_cannot_be_searched_where_there_are_several(several):
    with pytest.raises(ConfigError, match=r"distill\.margin\.value.*2 of them \(cosine, rkd_distance\)"):
        parse(PLAN, [several])


def test_what_concerns_no_one_distillation_can(several):
    def quality(trial, base):
        return {"quality.floor": trial.suggest_float("floor", 0, 1)}

    search = parse(Plan("quality", quality, PLAN.references), [several])
    assert [one.method for one in search.experiment_of({"quality.floor": 0.5}).taught] == ["cosine", "rkd_distance"]
    assert search.experiment_of(PLAN.references["no teacher"]).taught == ()


def test_a_space_that_makes_no_experiment_is_told_before_anything_is_started(file):
    def beyond(trial, base):
        return {"quality.floor": trial.suggest_float("floor", 0, 1.2)}

    with pytest.raises(ConfigError, match=r"quality\.floor"):
        parse(Plan("test-search", beyond, {}), [file])
    with pytest.raises(ConfigError, match="did you mean 'floor'"):
        parse(Plan("test-search", space, {"typo": {"quality.flor": 0.1}}), [file])


def test_a_search_for_a_low_eer_in_noise_needs_noise(file, tmp_path):
    plan = Plan("test-search", space, {}, ("best_val_eer", "best_val_noisy_eer"))
    with pytest.raises(ConfigError, match=r"set evaluate\.noise"):
        parse(plan, [file])
    parse(plan, [file, f"evaluate.noise={tmp_path}"])
    assert parse(plan, []).experiment.evaluate.noise is not None
    assert parse(PLAN, []).experiment.evaluate.noise is None


def test_the_methods_own_weight_is_filled_in(file, tmp_path):
    values = yaml.safe_load((tmp_path / "e.yaml").read_text())
    values["distill"].update(method="rkd_distance", weight=None)
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(values))
    assert parse(PLAN, [file]).experiment.distill[0].weight == 25
