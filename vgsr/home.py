"""Where VGSR keeps what it makes: one folder for corpora it renders, runs, checkpoints and the tracking database."""

import os
from pathlib import Path


def home() -> Path:
    """`$VGSR_HOME`, or `~/vgsr`. Not the current folder: a job on a Ray cluster runs in a copy that is thrown away."""
    return Path(os.environ.get("VGSR_HOME") or "~/vgsr").expanduser().absolute()
