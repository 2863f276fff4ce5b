"""How many epochs pruning leaves of a search, before anything is known of its trials.

In: trials, epochs, grace and reduction. Out: the expected number of trials in each epoch of ASHA as Ray Tune has it: a
trial that reaches a rung goes on unless it is worse than the quantile 1 - 1/reduction of those that were there before
it.
"""

import numpy as np


def rungs(epochs: int, grace: int, reduction: int) -> list[int]:
    """The epochs after which a trial may be stopped: grace, grace · reduction, … below `epochs`.

    A rung at the last epoch itself stops nobody who is not done.
    """
    found, at = [], grace
    while at < epochs:
        found.append(at)
        at *= reduction
    return found


def survival(place: int, reduction: int) -> float:
    """The chance of the trial that comes to a rung as number `place` (from 1) to go on, where ranks are random.

    Its value falls between those of the `place` - 1 before it with equal chances. The quantile lies between two of
    them, linearly interpolated as numpy does, and so does our guess of the chance there.
    """
    before = place - 1
    if not before:
        return 1.0
    return (before - (1 - 1 / reduction) * (before - 1)) / (before + 1)


def expected_trials(trials: int, epochs: int, grace: int, reduction: int) -> list[float]:
    """How many of `trials` trials run each epoch on average, where at each rung every order of them is equally likely.

    Our model: it knows neither that a search gets better (later trials survive more often: more epochs) nor that a
    trial that was ahead stays ahead. `trials` in each epoch is the most there can be.
    """
    arrivals = np.zeros(trials + 1)  # chance of so many trials at the next rung
    arrivals[trials] = 1.0
    found: list[float] = []
    for rung in [*rungs(epochs, grace, reduction), epochs]:
        found += [float(arrivals @ np.arange(trials + 1))] * (rung - len(found))
        arrivals = _survivors(arrivals, reduction)
    return found


def _survivors(arrivals: np.ndarray, reduction: int) -> np.ndarray:
    """The chances of numbers of survivors, from those of numbers of arrivals; who survives is independent of whom
    came before (ranks of successive values are: Rényi 1962)."""
    survivors = np.zeros_like(arrivals)
    of_so_many = np.zeros_like(arrivals)  # the chance of each number of survivors among the first so many
    of_so_many[0] = 1.0
    survivors += arrivals[0] * of_so_many
    for place in range(1, len(arrivals)):
        chance = survival(place, reduction)
        of_so_many[1:] = of_so_many[1:] * (1 - chance) + of_so_many[:-1] * chance
        of_so_many[0] *= 1 - chance
        survivors += arrivals[place] * of_so_many
    return survivors
