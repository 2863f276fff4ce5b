"""What a search will take: epochs, hours, money; at most, and as is to be expected.

In: a search, the speed of its trials, what the cluster holds, prices. Out: `Trials`, `Hours`, `Price`. Trials are taken
to be as fast as the one that was measured, their phases by the length of their crops; starting trials, and starting
nodes, comes on top.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vgsr.config import Experiment
from vgsr.search import confirm
from vgsr.search.calibrate import Speed
from vgsr.search.halving import expected_trials
from vgsr.search.plan import Search
from vgsr.search.prices import MACHINE, MARKET, ON_DEMAND, SPOT, Prices
from vgsr.training import phases


@dataclass(frozen=True)
class Trials:
    """A stage: how many trials it is, and how many of them run each epoch, as is to be expected."""

    stage: str
    count: int
    running: tuple[float, ...]

    @property
    def most(self) -> int:
        """Epochs of all of them together without pruning."""
        return self.count * len(self.running)

    @property
    def expected(self) -> float:
        """Epochs of all of them together."""
        return sum(self.running)

    def seconds(self, each: np.ndarray, *, most: bool) -> float:
        """Of all of them together, where the epochs take these seconds."""
        return float(each @ (np.full(len(each), self.count) if most else np.array(self.running)))


@dataclass(frozen=True)
class Hours:
    """A sum over a search. wall: with all of the cluster, in hours; None where no cluster is known."""

    epochs: float
    gpu: float
    cpu: float
    wall: float | None


@dataclass(frozen=True)
class Price:
    """What a search costs on one kind of machine; expected and at most."""

    machine: str
    market: str
    hour: float  # of one worker
    expected: float
    most: float


def stages(search: Search) -> list[Trials]:
    """The search's stages. Stage 2 is counted as if no control were another arm over again."""
    epochs, settings, first = search.experiment.epochs, search.settings, search.first
    grace = min(settings.grace, epochs)
    searched = expected_trials(first.searched, epochs, grace, settings.reduction)
    found = [Trials(first.name, first.size, tuple(len(first.fixed) + running for running in searched))]
    if search.confirms:
        controls = {**search.plan.references, **confirm.controls(search.experiment)}
        count = (min(settings.top, first.searched) + len(controls)) * settings.seeds
        found.append(Trials("confirm", count, (float(count),) * epochs))
    return found


def epoch_seconds(experiment: Experiment, speed: Speed) -> np.ndarray:
    """What each epoch of a trial takes with its validation, [epochs]."""
    crops = np.array(phases.crops(experiment))
    return speed.step_seconds * speed.steps * crops / experiment.train.crop_seconds + speed.validation_seconds


def hours(search: Search, speed: Speed, at_once: int | None, *, most: bool) -> Hours:
    """Hours of the whole search; `at_once`: how many trials run side by side."""
    train, parts = search.experiment.train, stages(search)
    epochs = sum(one.most if most else one.expected for one in parts)
    each = epoch_seconds(search.experiment, speed)
    worker_hours = sum(one.seconds(each, most=most) for one in parts) * train.workers / 3600
    wall = None
    if at_once is not None:
        wall = sum(_wall(one, min(at_once, one.count), each, most) for one in parts) / 3600
    return Hours(epochs, worker_hours * train.gpu, worker_hours * train.cpus_per_worker, wall)


def price_list(
    search: Search, speed: Speed, prices: Prices, machines: Sequence[Mapping[str, str]] | None
) -> list[Price]:
    """The search's price on each kind of machine on which its workers fit, the cheapest first.

    machines: the labels of a cluster's nodes; None: every machine of the price list, rented either way.
    """
    train = search.experiment.train
    cpus, gpus = float(train.cpus_per_worker), float(train.gpu)
    if machines is None:
        machines = [{MACHINE: name, MARKET: market} for name in prices.machines for market in (SPOT, ON_DEMAND)]
    each, found = epoch_seconds(search.experiment, speed), []
    for labels in machines:
        machine, hour = prices.machines.get(labels.get(MACHINE, "")), prices.hour(labels, cpus, gpus)
        if machine is None or hour is None or not machine.fits(cpus, gpus):
            continue
        expected, most = (
            hour * train.workers * sum(one.seconds(each, most=all_of_it) for one in stages(search)) / 3600
            for all_of_it in (False, True)
        )
        found.append(Price(labels[MACHINE], labels.get(MARKET, ON_DEMAND), hour, expected, most))
    return sorted(found, key=lambda one: one.most)


def _wall(part: Trials, at_once: int, each: np.ndarray, most: bool) -> float:
    """Seconds by the clock: whole trials in turns; pruned ones leave no gap, and one runs to its last epoch."""
    if not at_once:
        return 0.0
    if most or part.expected == part.most:
        return math.ceil(part.count / at_once) * float(each.sum())
    return max(part.seconds(each, most=False) / at_once, float(each.sum()))
