"""A compiled student trains as the ordinary one does.

The graph is captured, with its gradient, and run without C++ being made of it: that would take a minute
(`tests/benchmarks/step_speed.py --compile` does it).
"""

from functools import partial

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd

from vgsr.config import ConfigError
from vgsr.training import loop
from vgsr.training.compiled import compiled
from vgsr.training.local import LocalSession


def test_the_figures_are_those_of_the_ordinary_student(tiny_experiment, tmp_path, monkeypatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return aot_autograd(fw_compiler=lambda module, _: make_boxed_func(module.forward))(graph, inputs)

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    rows = {}
    for wanted in (False, True):
        found = rows[wanted] = []
        changes = {"train.epochs": 1, "train.compile": wanted, "student.backbone": "xvector", "student.channels": 8}
        loop.train(tiny_experiment(changes), LocalSession(tmp_path / str(wanted), found.append))
    for name in ("loss", "accuracy", "selection"):
        assert rows[True][-1][name] == pytest.approx(rows[False][-1][name], rel=1e-3), name
    assert len(graphs) == 1  # no part of it goes the ordinary way, and no batch is compiled again


def test_without_a_compiler_it_says_what_to_do(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"no C\+\+ compiler .*no-such-compiler.* leave train\.compile out"):
        compiled(None)
