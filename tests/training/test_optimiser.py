"""Which parameters decay, and SGD's step against the formula written out."""

import numpy as np
import pytest
import torch
from torch import nn

from vgsr.config.training import Train
from vgsr.training import optimiser


def parts():
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), nn.Linear(4, 2)], [nn.Parameter(torch.randn(5))]


def test_an_sgd_step_is_nesterovs_with_decay_on_every_weight():
    modules, free = parts()
    built = optimiser.build(Train(optimiser="sgd", weight_decay=0.1, learning_rate=0.5), modules, free)
    theirs = [p for module in modules for p in module.parameters()] + free
    expected = [p.detach().double().numpy().copy() for p in theirs]
    speed = [np.zeros_like(value) for value in expected]
    rng = np.random.default_rng(0)
    for rate in (0.5, 0.2, 0.05):
        for group in built.param_groups:
            group["lr"] = rate
        for at, p in enumerate(theirs):
            slope = rng.standard_normal(p.shape)
            p.grad = torch.from_numpy(slope).float()
            slope = slope + (0.1 if at < len(theirs) - 1 else 0.0) * expected[at]
            # Sutskever et al., ICML 2013, in the form where the gradient is taken at the moved point.
            speed[at] = 0.9 * speed[at] + slope
            expected[at] = expected[at] - rate * (slope + 0.9 * speed[at])
        built.step()
    for p, value in zip(theirs, expected, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "decaying"), [("sgd", 6), ("adamw", 2)])
def test_without_a_gradient_only_what_decays_moves(name, decaying):
    modules, free = parts()
    built = optimiser.build(Train(optimiser=name, weight_decay=0.5, learning_rate=0.1), modules, free)
    theirs = [p for module in modules for p in module.parameters()] + free
    for p in theirs:
        p.data.fill_(1.0)
        p.grad = torch.zeros_like(p)
    built.step()
    shrunk = [bool((p < 1).all()) for p in theirs]
    assert sum(shrunk) == decaying and not shrunk[-1]
    assert all(name == "sgd" or p.dim() > 1 for p, less in zip(theirs, shrunk, strict=True) if less)
