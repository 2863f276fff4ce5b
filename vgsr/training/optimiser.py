"""The optimiser of a training, or of one phase of it, and which parameters decay in it."""

from collections.abc import Iterable

import torch
from torch import nn

from vgsr.config.training import Train

MOMENTUM = 0.9  # of SGD, Nesterov's (WeSpeaker's recipes)


def build(settings: Train, modules: Iterable[nn.Module], free: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """A fresh optimiser over the modules' parameters, and over `free` ones, which never decay.

    With AdamW only matrices and kernels decay; with SGD everything does, biases and normalisation layers too
    (WeSpeaker and clovaai give one weight decay to all of a model). In both, momenta start from zero.
    """
    parameters, free = [p for module in modules for p in module.parameters()], list(free)
    decays = (lambda p: True) if settings.optimiser == "sgd" else (lambda p: p.dim() > 1)
    groups = [
        {"params": [p for p in parameters if decays(p)], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if not decays(p)] + free, "weight_decay": 0.0},
    ]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, lr=settings.learning_rate)
