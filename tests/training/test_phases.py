"""Phases: their curves, their places in a run, what is said of them, and mistakes in them."""

import io
import math

import pytest
from rich.console import Console

from vgsr import config
from vgsr.search import board
from vgsr.training import local, loop, phases, schedule

from .runs import SHORT, TUNED, latest, rows_of

pytestmark = pytest.mark.usefixtures("one_thread")


def theirs(iteration, *, epochs, per_epoch, initial, final, warmup, scale):
    """WeSpeaker's ExponentialDecrease with warm_from_zero, told again from wespeaker/utils/schedulers.py: a
    coefficient (the scale, and during the warm-up its share of it) on an exponential over all iterations."""
    coefficient = scale
    if iteration < warmup * per_epoch:
        coefficient = scale * iteration / (warmup * per_epoch)
    return coefficient * initial * math.exp(iteration / (epochs * per_epoch) * math.log(final / initial))


@pytest.mark.parametrize(
    ("epochs", "initial", "final", "warmup", "scale"),
    [(150, 0.1, 5e-5, 6, 4.0), (5, 1e-4, 2.5e-5, 1, 2.0), (10, 0.1, 1e-3, 0, 1.0)],
)
def test_the_learning_rate_is_wespeakers(epochs, initial, final, warmup, scale):
    per_epoch = 1700
    for point in range(20):
        iteration = point * epochs * per_epoch // 19
        ours = schedule.learning_rate(
            iteration / per_epoch, peak=scale * initial, final=scale * final, warmup=warmup, epochs=epochs
        )
        other = theirs(
            iteration, epochs=epochs, per_epoch=per_epoch, initial=initial, final=final, warmup=warmup, scale=scale
        )
        assert ours == pytest.approx(other, rel=1e-12, abs=1e-18)


def test_each_step_has_the_rate_and_margin_of_its_place_in_its_phase(tiny_experiment, tmp_path, monkeypatch):
    rising = {"kind": "hinge", "unit": "absolute", "value": 0.6, "schedule": "warmup"}
    experiment, seen = tiny_experiment({**SHORT, "distill.margin": rising}), []
    taken = loop._step

    def step(settings, session, learner, batch):
        rates = {group["lr"] for group in learner.optimiser.param_groups}
        fresh = not learner.optimiser.state
        seen.append((rates, learner.class_margin, batch["wave"].shape, fresh))
        return taken(settings, session, learner, batch)

    monkeypatch.setattr(loop, "_step", step)
    rows = rows_of(experiment, tmp_path)
    assert len(seen) == 2 * 3 + 2 * 2  # 24 utterances in batches of 8, then of 12
    for at, (rates, margin, shape, fresh) in enumerate(seen):
        if at < 6:
            middle = (at + 0.5) / 3
            rate = 0.05 * (1e-5 / 0.05) ** (middle / 2) * min(middle / 0.5, 1)
            expected = 0.2 * min(at / 3, 1.0)
        else:
            middle = (at - 6 + 0.5) / 2
            rate = 1e-4 * 0.25 ** (middle / 2)
            expected = 0.5
        assert len(rates) == 1 and rates.pop() == pytest.approx(rate)
        assert margin == pytest.approx(expected)
        assert tuple(shape) == ((8, 8000) if at < 6 else (12, 12800))
        assert fresh == (at in (0, 6))
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["phase"] for row in rows] == ["training"] * 2 + ["large-margin"] * 2
    assert [row["averaged"] for row in rows] == [False, True, False, False]
    assert [row["first_step"] for row in rows] == [0, 3, 6, 8]
    assert [len(row["steps"]["loss"]) for row in rows] == [3, 3, 2, 2]
    assert rows[-1]["best_val_eer"] == min(row["val_eer"] for row in rows)
    mu = [value for row in rows for value in row["steps"]["mu"]]
    assert mu == pytest.approx([0.6 * min(step / 6, 1.0) for step in range(10)])
    assert latest(tmp_path).name == "00004-000000"


def test_a_person_is_told_the_phase_and_whose_validation_it_is(tiny_experiment, tmp_path):
    with (tmp_path / "said.txt").open("w") as file:
        local.train(tiny_experiment(SHORT), tmp_path / "run", "cpu", Console(file=file, width=300))
    said = [line for line in (tmp_path / "said.txt").read_text().splitlines() if "validation EER" in line]
    assert [line.partition("   ")[0] for line in said] == [
        "epoch 1/4 training",
        "epoch 2/4 training",
        "epoch 3/4 large-margin",
        "epoch 4/4 large-margin",
    ]
    assert ["validation EER of the mean " in line for line in said] == [False, True, False, False]


def test_a_person_who_interrupts_is_told_how_to_go_on(tiny_experiment):
    said = io.StringIO()
    with pytest.raises(KeyboardInterrupt), local.EpochProgress(tiny_experiment(SHORT), Console(file=said)):
        raise KeyboardInterrupt
    assert said.getvalue().endswith("interrupted; the same command goes on from its last checkpoint\n")
    with local.EpochProgress(tiny_experiment(SHORT), Console(file=said)):
        pass
    assert said.getvalue().count("interrupted") == 1


def test_the_bar_is_as_far_as_the_speech_is(tiny_experiment):
    """Two epochs of 0.5 s crops and two of 0.8 s; half of the third."""
    progress = local.EpochProgress(tiny_experiment(SHORT), Console(quiet=True))
    progress.step(2, 1, 2)
    (task,) = progress._bar.tasks
    assert (task.completed, task.total) == pytest.approx((2 * 0.5 + 0.4, 2 * 0.5 + 2 * 0.8))
    assert task.description == "epoch 3/4 large-margin" and task.fields["batch"] == "batch 1/2"


def test_a_phase_may_drop_the_penalty_of_the_nearest_wrong_speakers(tiny_experiment, tmp_path, monkeypatch):
    seen, taken = [], loop._step

    def step(settings, session, learner, batch):
        seen.append((learner.heads.settings.top_k, learner.heads.settings.margin))
        return taken(settings, session, learner, batch)

    monkeypatch.setattr(loop, "_step", step)
    changes = {"train.epochs": 1, "classification.top_k": 2, "phases": [{**TUNED, "epochs": 1, "top_k": 0}]}
    rows_of(tiny_experiment(changes), tmp_path)
    assert seen == [(2, 0.2)] * 3 + [(0, 0.5)] * 2


def test_stretches_cover_every_epoch_once(tiny_experiment):
    experiment = tiny_experiment(
        {"train.epochs": 3, "phases": [{**TUNED, "average": 1}, {"name": "more", "epochs": 1}]}
    )
    found = phases.stretches(experiment)
    assert [(one.name, one.first, one.end) for one in found] == [
        ("training", 0, 3),
        ("large-margin", 3, 5),
        ("more", 5, 6),
    ]
    assert [phases.at(experiment, epoch).name for epoch in range(7)] == (
        ["training"] * 3 + ["large-margin"] * 2 + ["more"] * 2
    )
    assert experiment.epochs == 6
    last = found[2].experiment
    assert (last.train.batch, last.train.learning_rate, last.classification.margin) == (8, 1e-3, 0.2)
    assert [epoch for epoch in range(6) if any(one.averages(epoch) for one in found)] == [4]


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        ([{**TUNED, "lerning_rate": 1.0}], "did you mean 'learning_rate'"),
        ([{"name": "a"}], "'phases.0.epochs' is missing"),
        ([TUNED, TUNED], "different names"),
        ([{**TUNED, "name": "training"}], "different names"),
        ([{**TUNED, "average": 3}], "average is 3"),
        ([{**TUNED, "top_k": 1}], "larger top_k"),
        ([{**TUNED, "batch": 1}], r"phases\.0\.batch"),
    ],
)
def test_mistakes_in_phases_are_told(tiny_experiment, phases, said):
    with pytest.raises(config.ConfigError, match=said):
        tiny_experiment({"phases": phases})


def test_phases_are_read_back_and_overridden(tiny_experiment):
    experiment = tiny_experiment(SHORT)
    assert config.override(experiment, {"phases.0.margin": 0.3}).phases[0].margin == 0.3
    flat = {key: str(value) for key, value in experiment.flat().items()}
    assert flat["phases.0.name"] == "large-margin"
    assert board._epochs(flat) == str(experiment.epochs) == "4"  # what MLflow keeps of a run says it too
    assert board._epochs({}) == "?"
    assert experiment.digest != tiny_experiment({**SHORT, "phases": []}).digest
