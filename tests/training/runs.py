"""Runs that tests of training make and compare."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from vgsr.training import loop
from vgsr.training.session import LocalSession

# Whatever an objective can keep from batch to batch: learned tensors, a queue, running statistics, a schedule.
KEEPS = {
    "distill": [
        {
            "method": "vid",
            "margin": {"kind": "softplus", "value": 0.4, "unit": "quantile", "schedule": "anneal"},
        },
        {"method": "crd", "options": {"queue": 12}},
    ],
    "quality.signals": ["face_norm", "student_norm"],
}
# Two phases of two epochs each, the first with an average.
TUNED = {
    "name": "large-margin",
    "epochs": 2,
    "crop_seconds": 0.8,
    "batch": 12,
    "learning_rate": 1e-4,
    "final_learning_rate": 2.5e-5,
    "margin": 0.5,
}
SHORT = {
    "train.epochs": 2,
    "train.average": 2,
    "train.optimiser": "sgd",
    "train.learning_rate": 0.05,
    "train.gradient_clip": None,
    "classification.margin_full": 1.0,
    "phases": [TUNED],
}


def rows_of(experiment, folder):
    rows = []
    loop.train(experiment, LocalSession(folder, rows.append))
    return rows


def latest(folder: Path) -> Path:
    return max(path for path in (folder / "checkpoints").iterdir() if not path.name.startswith("."))


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("student.safetensors", "heads.safetensors"):
        left, right = load_file(latest(one) / name), load_file(latest(other) / name)
        assert left.keys() == right.keys()
        for key in left:
            assert torch.equal(left[key], right[key]), key
    left, right = (torch.load(latest(f) / "training.pt", weights_only=True) for f in (one, other))
    assert str(left["optimiser"]) == str(right["optimiser"]) and str(left["objective"]) == str(right["objective"])
