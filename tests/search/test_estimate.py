"""What a search will take: counted out by hand, measured on a tiny corpus, remembered from earlier runs."""

from datetime import date

import pytest

from vgsr.data import manifest as manifests
from vgsr.search import calibrate, estimate
from vgsr.search.calibrate import Speed
from vgsr.search.plan import Base, Plan, Settings, bind
from vgsr.search.prices import MACHINE, MARKET, Machine, Prices
from vgsr.tracking import COMPLETED, PRUNED, TrackedRun
from vgsr.training import loop
from vgsr.training.session import LocalSession

SPEED = Speed("made up", step_seconds=2.0, steps=5, validation_seconds=8.0)  # 18 s an epoch
PRICES = Prices(
    "EUR",
    date(2026, 1, 1),
    "typed",
    {
        "big": Machine(provider="aws", cpus=8, gpus=4, on_demand=8.0, spot=4.0),
        "small": Machine(provider="aws", cpus=8, gpus=1, on_demand=3.0, spot=1.0),
        "plain": Machine(provider="aws", cpus=8, gpus=0, on_demand=0.5, spot=0.25),
    },
)


def _space(trial, base):
    return {"distill.weight": trial.suggest_float("weight", 0.1, 1.0)}


@pytest.fixture
def search(tiny_experiment, tmp_path):
    def build(changes=None, space=_space, **settings):
        plan = Plan(
            "test-search", space, {"no teacher": {"distill": {"method": "none"}}, "twice": {"distill.weight": 2.0}}
        )
        own = Settings(**{"storage": str(tmp_path / "place"), **settings})
        return bind(plan, Base(tiny_experiment({"train.epochs": 10, **(changes or {})}), ()), own, "digest")

    return build


def test_stages(search):
    first, second = estimate.stages(search(trials=4, grace=10, top=2, seeds=5))
    assert (first.count, first.most, first.expected) == (4, 40, 40)  # a grace of all epochs prunes nobody
    assert (
        second.count == (2 + 4) * 5
    )  # two references, one of which is the control "no teacher", and two more controls
    assert second.most == second.expected == 300
    pruned, _ = estimate.stages(search(trials=4, grace=2, top=2, seeds=5))
    assert pruned.most == 40 and 8 < pruned.expected < 40


def test_references_without_a_second_stage_are_never_pruned(search):
    (only,) = estimate.stages(search(trials=4, grace=10, top=0, seeds=3))
    assert (only.count, only.most) == (4 + 6, 100)
    (compared,) = estimate.stages(search(space=None, seeds=3))
    assert (compared.count, compared.most, compared.expected) == (6, 60, 60)


def test_hours(search):
    own = search(
        {"train.workers": 2, "train.cpus_per_worker": 3, "train.gpu": True}, trials=4, grace=10, top=2, seeds=5
    )
    most = estimate.hours(own, SPEED, 4, most=True)
    assert most.epochs == 340
    assert most.gpu == pytest.approx(340 * 18 * 2 / 3600)
    assert most.cpu == pytest.approx(340 * 18 * 6 / 3600)
    assert most.wall == pytest.approx((1 + 8) * 10 * 18 / 3600)  # 30 trials, 4 at once, in 8 turns
    assert estimate.hours(own, SPEED, 100, most=True).wall == pytest.approx(2 * 10 * 18 / 3600)
    assert estimate.hours(own, SPEED, None, most=True).wall is None
    pruned = search(trials=40, grace=1, top=1, seeds=1)
    expected, most = (estimate.hours(pruned, SPEED, 2, most=all_of_it) for all_of_it in (False, True))
    assert expected.epochs < most.epochs and expected.wall < most.wall and expected.gpu == 0


def test_the_epochs_of_a_phase_take_as_long_as_their_crops(search):
    """Counted out: epochs of 10 s and 8 s of validation, and two of crops three times as long."""
    phase = {"name": "large-margin", "epochs": 2, "crop_seconds": 1.5, "batch": 16}
    own = search({"train.epochs": 4, "phases": [phase]}, trials=8, grace=4, top=1, seeds=1)
    first, second = estimate.stages(own)
    assert len(first.running) == 6 and first.most == 48 and second.expected == second.most == 30
    assert first.running[:4] == (8, 8, 8, 8) and first.running[4] == first.running[5] < 8
    most, expected = (estimate.hours(own, SPEED, 1, most=all_of_it) for all_of_it in (True, False))
    whole = 4 * 18 + 2 * 38
    assert most.wall == pytest.approx((8 + 5) * whole / 3600) == most.cpu
    assert expected.cpu == pytest.approx((8 * 4 * 18 + first.running[4] * 2 * 38 + 5 * whole) / 3600)
    (price, *_) = estimate.price_list(own, SPEED, PRICES, None)
    assert (price.machine, price.most) == ("plain", pytest.approx(0.25 / 8 * most.cpu))
    assert price.expected == pytest.approx(0.25 / 8 * expected.cpu)


def test_money(search):
    own = search(
        {"train.workers": 2, "train.gpu": True, "train.cpus_per_worker": 2}, trials=4, grace=10, top=2, seeds=5
    )
    hours = 340 * 18 * 2 / 3600
    found = estimate.price_list(own, SPEED, PRICES, None)
    assert [(one.machine, one.market) for one in found] == [
        ("big", "spot"),
        ("small", "spot"),
        ("big", "on-demand"),
        ("small", "on-demand"),
    ]
    assert [one.most for one in found] == pytest.approx([hours, hours, 2 * hours, 3 * hours])
    assert found[0].expected == found[0].most
    own = [{MACHINE: "small", MARKET: "spot"}, {MACHINE: "plain"}, {}, {MACHINE: "unheard-of"}]
    cluster = estimate.price_list(search({"train.gpu": True}), SPEED, PRICES, own)
    assert [(one.machine, one.hour) for one in cluster] == [("small", 1.0)]
    assert estimate.price_list(search({"train.gpu": True}), SPEED, PRICES, own[2:]) == []


def test_a_measurement_counts_the_steps_that_a_run_has(tiny_experiment, tmp_path):
    experiment = tiny_experiment({"train.epochs": 1})
    rows = []
    loop.train(experiment, LocalSession(tmp_path, rows.append))
    speed = calibrate.measure(experiment)
    assert speed.steps == len(rows[0]["steps"]["loss"])
    assert speed.step_seconds > 0 and speed.validation_seconds > 0
    assert speed.epoch_seconds == speed.step_seconds * speed.steps + speed.validation_seconds
    assert speed.peak_memory_mb > 100 and speed.peak_gpu_memory_mb is None
    assert "CPU" in speed.source


@pytest.mark.parametrize(
    "changes",
    [{"train.batch": 24}, {"train.batch": 8, "train.workers": 4}, {"train.batch": 12, "train.epochs": 1}],
    ids=["a single step an epoch", "one worker's share", "two steps an epoch"],
)
def test_a_measurement_of_other_shapes(tiny_experiment, changes, monkeypatch):
    monkeypatch.setattr(calibrate, "STEPS", 2)
    experiment = tiny_experiment(changes)
    utterances = len(manifests.read(experiment.corpus.manifest).split("train", ["utterance_id"]))
    speed = calibrate.measure(experiment)
    assert speed.steps == utterances // experiment.train.batch
    assert speed.step_seconds > 0


def _run(experiment, state=COMPLETED, data="d", rate=100.0, **params):
    flat = {key: str(value) for key, value in experiment.flat().items()}
    figures = {"utterances_per_second": rate, "validation_seconds": rate / 10}
    return TrackedRun("id", "name", state, {"vgsr.data": data}, {**flat, **params}, figures, 1.0)


def test_a_speed_that_is_remembered(tiny_experiment):
    experiment = tiny_experiment({"train.gpu": True, "train.batch": 10})
    runs = [
        _run(experiment, rate=10.0),
        _run(experiment, rate=20.0),
        _run(experiment, rate=90.0, data="another"),
        _run(experiment, rate=1e6, state=PRUNED),
        _run(experiment, rate=1e6, **{"train.batch": "20"}),
        _run(experiment, rate=1e6, **{"student.channels": "9"}),
        _run(experiment, rate=1e6, **{"train.gpu": "False"}),
        _run(experiment, rate=1e6, **{"train.compile": "True"}),
    ]
    speed = calibrate.remembered(experiment, runs, 105, "d")
    assert (speed.step_seconds, speed.steps, speed.validation_seconds) == (0.5, 10, 1.5)
    assert speed.source.startswith("3 completed runs")
    elsewhere = calibrate.remembered(experiment, runs, 105, "new")
    assert elsewhere.validation_seconds == 0 and "without validation" in elsewhere.source
    assert calibrate.remembered(experiment, runs[3:], 105, "d") is None


def test_the_last_epochs_speed_is_remembered_by_seconds_of_speech(tiny_experiment):
    """A run's figures are of its last phase, whose crops are longer: the training's batches took less time."""
    experiment = tiny_experiment({"train.batch": 10})
    phases = [
        {"name": "a", "epochs": 1, "crop_seconds": 9.0},
        {"name": "b", "epochs": 1, "crop_seconds": 1.5, "batch": 7},
    ]
    own = _run(tiny_experiment({"train.batch": 10, "phases": phases}), rate=10.0)
    assert calibrate.remembered(experiment, [own], 100, "d").step_seconds == pytest.approx(10 / 30)
    as_before = _run(tiny_experiment({"train.batch": 10, "phases": [phases[0], {"name": "c", "epochs": 1}]}), rate=10.0)
    assert calibrate.remembered(experiment, [as_before], 100, "d").step_seconds == 1.0
