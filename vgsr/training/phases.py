"""Phases: the training itself, and each that follows it, as a stretch of epochs with settings of its own.

Epochs count on from one to the next. In a phase the learning rate starts anew and the classifier's margin stands. The
schedules of distillation's margins know no phases: they run over the training, or as long as they say themselves, and
stay at their end.
"""

from dataclasses import dataclass

from vgsr.config import Experiment
from vgsr.config.training import Phase

TRAINING = "training"  # the name of the first


@dataclass(frozen=True)
class Stretch:
    """Epochs `first` to `end` (exclusive, from 0) of a run, and the experiment as it is in them.

    `experiment` has no phases, and the digest of none: a checkpoint is of the whole one.
    """

    name: str
    first: int
    experiment: Experiment

    @property
    def end(self) -> int:
        """The first epoch after it."""
        return self.first + self.experiment.train.epochs

    def averages(self, epoch: int) -> bool:
        """Whether the weights at the end of this epoch are among those to average."""
        return self.end - self.experiment.train.average <= epoch < self.end

    def averaged(self, epoch: int) -> bool:
        """Whether this epoch ends with the average."""
        return self.experiment.train.average > 0 and epoch == self.end - 1


def stretches(experiment: Experiment) -> list[Stretch]:
    """The training, and its phases in order."""
    found = [Stretch(TRAINING, 0, experiment.model_copy(update={"phases": ()}))]
    for phase in experiment.phases:
        found.append(Stretch(phase.name, found[-1].end, _during(experiment, phase)))
    return found


def at(experiment: Experiment, epoch: int) -> Stretch:
    """The stretch that an epoch (from 0) lies in; after the last epoch, the last."""
    found = stretches(experiment)
    return next((one for one in found if epoch < one.end), found[-1])


def crops(experiment: Experiment) -> list[float]:
    """The seconds of a crop in each epoch.

    An epoch takes the same utterances whatever its phase, so this is what one costs beside another (our model: a
    student's work goes with the length of its crops).
    """
    return [one.experiment.train.crop_seconds for one in stretches(experiment) for _ in range(one.first, one.end)]


def _during(experiment: Experiment, phase: Phase) -> Experiment:
    changed = phase.model_dump(exclude={"name", "margin", "top_k", "speeds"}, exclude_none=True)
    train = experiment.train.model_copy(update=changed)
    margin = experiment.classification.margin if phase.margin is None else phase.margin
    standing = {"margin": margin, "margin_start": 0.0, "margin_full": 0.0}
    if phase.top_k is not None:
        standing["top_k"] = phase.top_k
    classification = experiment.classification.model_copy(update=standing)
    augment = experiment.augment if phase.speeds else experiment.augment.model_copy(update={"speeds": (1.0,)})
    changes = {"train": train, "classification": classification, "augment": augment, "phases": ()}
    return experiment.model_copy(update=changes)
