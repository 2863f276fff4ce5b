"""The course of a training in words: what each phase does, and what in it is allowed but hardly meant.

In: an experiment, and how long its training utterances are. Out: lines for a person.
"""

import numpy as np

from vgsr.config import Experiment
from vgsr.training import phases
from vgsr.training.phases import Stretch

MANY = 0.5  # share of the training utterances from which on it is worth a word that they are shorter than a crop


def lines(experiment: Experiment, seconds: np.ndarray) -> list[str]:
    """A line a phase, each with its warnings behind it; seconds [n] of the training utterances."""
    found = []
    for stretch in phases.stretches(experiment):
        line = _line(stretch)
        if len(stretch.experiment.augment.speeds) < len(experiment.augment.speeds):
            line += "; no other speeds"
        found += [line, *(f"warning: {said}" for said in _warnings(stretch, seconds))]
    return found


def _line(stretch: Stretch) -> str:
    train, classes = stretch.experiment.train, stretch.experiment.classification
    parts = [
        f"{stretch.name}: {train.epochs} epoch{'s'[: train.epochs > 1]} of {train.crop_seconds:g} s crops in batches "
        f"of {train.batch}",
        f"{train.optimiser}, learning rate {train.learning_rate:g} → {train.final_learning_rate:g}"
        + (f", warm-up {train.warmup_epochs:g}" if train.warmup_epochs else ""),
        classes.loss + (f", margin {classes.margin:g}" if classes.loss != "softmax" else ""),
    ]
    if classes.margin and classes.margin_full:
        parts[-1] += f" ({classes.margin_shape}, from epoch {classes.margin_start:g} to {classes.margin_full:g})"
    if classes.sub_centres > 1:
        parts[-1] += f", {classes.sub_centres} sub-centres"
    if classes.top_k:
        parts[-1] += f", penalty {classes.top_k_penalty:g} for the {classes.top_k} nearest wrong speakers"
    if train.average > 1:
        parts.append(f"ends with the mean of its last {train.average} epochs")
    return "; ".join(parts)


def _warnings(stretch: Stretch, seconds: np.ndarray) -> list[str]:
    train, classes, found = stretch.experiment.train, stretch.experiment.classification, []
    if len(seconds) < train.batch:
        found.append(f"the corpus is smaller than one batch of {stretch.name}; each batch repeats utterances")
    short = float(np.mean(seconds < train.crop_seconds))
    if short > MANY:
        found.append(
            f"{100 * short:.0f} % of the training utterances are shorter than the {train.crop_seconds:g} s crops of "
            f"{stretch.name}, and are repeated to fill one"
        )
    if classes.margin and classes.margin_full > train.epochs:
        found.append(f"{stretch.name} ends before epoch {classes.margin_full:g}, where the classifier's margin is full")
    if train.warmup_epochs >= train.epochs:
        found.append(f"{stretch.name} is all warm-up: {train.warmup_epochs:g} epochs of {train.epochs}")
    if train.final_learning_rate > train.learning_rate:
        found.append(
            f"the learning rate of {stretch.name} rises, from {train.learning_rate:g} to {train.final_learning_rate:g}"
        )
    return found
