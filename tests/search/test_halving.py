"""What pruning leaves, against a simulation with Ray Tune's own scheduler."""

import numpy as np
import pytest
from ray.tune.schedulers.async_hyperband import _Bracket

from vgsr.search import halving


class Trial:
    def __init__(self, number):
        self.trial_id = str(number)


def simulated(trials, epochs, grace, reduction, rng):
    """Random trials that ASHA lets run each epoch, as `tuning.scheduler` sets it; they come to each in any order."""
    bracket = _Bracket(grace, epochs + 1, reduction, 0)
    alive, found = [Trial(number) for number in range(trials)], []
    for epoch in range(1, epochs + 1):
        found.append(len(alive))
        rng.shuffle(alive)
        alive = [trial for trial in alive if bracket.on_result(trial, epoch, rng.random()) == "CONTINUE"]
    return found


@pytest.mark.parametrize(
    ("trials", "epochs", "grace", "reduction"),
    [(1, 10, 2, 2), (6, 15, 5, 2), (20, 10, 1, 2), (20, 27, 1, 3), (30, 20, 5, 4), (9, 4, 4, 2), (12, 8, 1, 2)],
)
def test_against_a_simulation(trials, epochs, grace, reduction):
    rng = np.random.default_rng(0)
    runs = [simulated(trials, epochs, grace, reduction, rng) for _ in range(200)]
    expected = np.array(halving.expected_trials(trials, epochs, grace, reduction))
    for guess, found in ((expected, np.array(runs)), (expected.sum(), np.sum(runs, axis=1))):
        error = found.std(axis=0) / np.sqrt(len(runs))
        assert np.all(np.abs(guess - found.mean(axis=0)) <= 4 * error + 1e-9)


@pytest.mark.parametrize("reduction", [2, 3, 4])
@pytest.mark.parametrize("place", [1, 2, 3, 4, 7, 20])
def test_survival_of_one(place, reduction):
    rng = np.random.default_rng(1)
    values = rng.random((20000, place))
    cut = np.quantile(values[:, :-1], 1 - 1 / reduction, axis=1) if place > 1 else np.zeros(20000)
    share = float(np.mean(values[:, -1] >= cut))
    assert halving.survival(place, reduction) == pytest.approx(share, abs=0.015)


def test_bounds():
    assert halving.expected_trials(0, 10, 2, 2) == [0] * 10
    assert halving.expected_trials(7, 10, 10, 2) == [7] * 10  # nobody can be stopped
    found = halving.expected_trials(7, 10, 2, 2)
    assert found[:2] == [7, 7] and len(found) == 10 and found == sorted(found, reverse=True) and found[2] < 7
    assert halving.rungs(15, 5, 2) == [5, 10]
    assert halving.rungs(20, 5, 2) == [5, 10]  # at the 20th the trial is done
