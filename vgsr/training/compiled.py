"""A student whose training passes are compiled: `train.compile`.

torch.compile fuses what lies between matrix products. It takes about a minute at the start of each phase, and a C++
compiler on every node that trains. Validation goes the ordinary way: its utterances have a hundred lengths.
"""

import os
import shutil
from typing import cast

import torch
from torch import nn

from vgsr.config import ConfigError

COMPILERS = ("g++", "clang++")  # where $CXX does not say another


def compiled(module: nn.Module) -> nn.Module:
    """The same module, compiled for each size of batch when it first sees one; ConfigError without a C++ compiler."""
    wanted = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    if not any(map(shutil.which, wanted)):
        raise ConfigError(
            f"train.compile: no C++ compiler on this machine (looked for {' and '.join(wanted)}): "
            "install one, or leave train.compile out"
        )
    # A worker that stays for other trials has compiled theirs: beyond eight, torch would silently stop compiling.
    torch.compiler.reset()
    return cast(nn.Module, torch.compile(module, dynamic=False))
