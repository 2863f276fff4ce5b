"""VGSR's side of the speed benchmarks: the parts that `vgsr train` builds, and the step that its loop does."""

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from material import TAUGHT, Material, experiment
from torch import Tensor

from vgsr.data import batches
from vgsr.training import learner as parts
from vgsr.training import loop
from vgsr.training.learner import Learner
from vgsr.training.session import LocalSession

Batch = dict[str, Tensor]


@dataclass
class Own:
    """A learner, and where it runs."""

    learner: Learner
    session: LocalSession

    @property
    def parameters(self) -> int:
        """Of the student."""
        return sum(parameter.numel() for parameter in self.learner.student.parameters())

    def read(self, ahead: bool) -> Iterator[Batch]:
        """Batches for ever; read by a thread beside, as the loop does it, or one when it is asked for."""
        crops, settings = self.learner.crops, self.learner.stretch.experiment.train
        for epoch in itertools.count():
            order = batches.WorkerBatches(len(crops), settings.batch, 0, epoch, self.session.rank, self.session.world)
            if ahead:
                yield from batches.loader(crops, order, crops.collate, settings.loader_processes, pin=False)
            else:
                yield from (crops.collate([crops[address] for address in addresses]) for addresses in order)

    def learn(self, batch: Batch) -> float:
        """The loop's step: features, forward, backward, optimiser; the loss."""
        figures, _ = loop._step(self.learner.stretch.experiment.train, self.session, self.learner, batch)
        return figures["loss"]


def own(
    material: Material,
    student: str,
    batch: int,
    seconds: float,
    *,
    taught: bool,
    device: str = "cpu",
    rank: int = 0,
    world: int = 1,
    **changes: Any,
) -> Own:
    """Built as the loop builds it. taught: by a face teacher's relations, weighed by quality; changes: of its keys."""
    changes = (TAUGHT if taught else {}) | changes
    made = parts.resolve(experiment(material, student, batch, seconds, **changes))
    session = LocalSession(tempfile.gettempdir(), None, device, rank, world)  # no checkpoint is ever written there
    learner = parts.build(made, session)
    learner.train_mode()
    learner.class_margin = made.classification.margin
    torch.manual_seed(0)
    return Own(learner, session)
