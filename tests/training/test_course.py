"""What a training is going to be, in words: every phase is told with what differs in it, and what is hardly meant."""

import numpy as np
import pytest

from vgsr.training import check, course

TUNED = {"name": "large-margin", "epochs": 5, "crop_seconds": 6.0, "batch": 64, "margin": 0.5, "top_k": 0}
RECIPE = {
    "train.epochs": 150,
    "train.batch": 256,
    "train.crop_seconds": 2.0,
    "train.optimiser": "sgd",
    "train.learning_rate": 0.4,
    "train.final_learning_rate": 2e-4,
    "train.warmup_epochs": 6,
    "train.average": 10,
    "classification.margin_start": 19,
    "classification.margin_full": 39,
    "classification.margin_shape": "exponential",
    "classification.sub_centres": 3,
    "classification.top_k": 5,
    "phases": [{**TUNED, "learning_rate": 1e-4, "final_learning_rate": 2.5e-5, "warmup_epochs": 1}],
}
LONG = np.full(1000, 7.0)


def test_each_phase_is_a_line(tiny_experiment):
    assert course.lines(tiny_experiment(RECIPE), LONG) == [
        "training: 150 epochs of 2 s crops in batches of 256; sgd, learning rate 0.4 → 0.0002, warm-up 6; aam, margin "
        "0.2 (exponential, from epoch 19 to 39), 3 sub-centres, penalty 0.06 for the 5 nearest wrong speakers; ends "
        "with the mean of its last 10 epochs",
        "large-margin: 5 epochs of 6 s crops in batches of 64; sgd, learning rate 0.0001 → 2.5e-05, warm-up 1; aam, "
        "margin 0.5, 3 sub-centres",
    ]
    plain = {"train.epochs": 1, "train.warmup_epochs": 0, "classification": {"loss": "softmax"}}
    assert course.lines(tiny_experiment(plain), LONG) == [
        "training: 1 epoch of 0.5 s crops in batches of 8; adamw, learning rate 0.001 → 1e-05; softmax"
    ]


def test_a_phase_without_speed_perturbation_says_so(tiny_experiment):
    changes = {"augment.speeds": [1.0, 0.9, 1.1], "phases": [{**TUNED, "speeds": False}, {**TUNED, "name": "more"}]}
    said = course.lines(tiny_experiment({**RECIPE, **changes}), LONG)
    assert ["no other speeds" in line for line in said] == [False, True, False]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        (
            {"classification.margin_full": 151},
            ["training ends before epoch 151, where the classifier"],
        ),
        ({"train.epochs": 10, "train.warmup_epochs": 10}, ["all warm-up: 10 epochs of 10", "training ends before"]),
        (
            {"phases": [{**TUNED, "learning_rate": 1e-5}]},  # its last rate is still the training's
            ["the learning rate of large-margin rises, from 1e-05 to 0.0002"],
        ),
        ({"phases": [{**TUNED, "crop_seconds": 7.5}]}, ["100 % of the training utterances are shorter than the 7.5 s"]),
        ({"phases": [{**TUNED, "batch": 2000}]}, ["the corpus is smaller than one batch of large-margin"]),
    ],
)
def test_what_is_hardly_meant_is_warned_of(tiny_experiment, changes, said):
    warned = [line for line in course.lines(tiny_experiment({**RECIPE, **changes}), LONG) if "warning: " in line]
    assert len(warned) == len(said) and all(any(one in line for line in warned) for one in said)


def test_only_many_short_utterances_are_worth_a_word(tiny_experiment):
    for share, warned in ((0.4, False), (0.6, True)):
        seconds = np.where(np.arange(1000) < 1000 * share, 1.0, 7.0)
        said = [line for line in course.lines(tiny_experiment(RECIPE), seconds) if "shorter" in line]
        assert len(said) == 2 * warned and all(f"{100 * share:.0f} %" in line for line in said)


def test_checking_an_experiment_tells_it(tiny_experiment):
    lines = check.check(tiny_experiment({"phases": [{**TUNED, "batch": 12}]})).lines
    told = [line for line in lines if line.startswith(("training: ", "large-margin: "))]
    assert len(told) == 2 and any(line.startswith("warning: 100 % of the training utterances") for line in lines)
