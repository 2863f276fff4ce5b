"""The environment of commands that a test starts."""

import os
from pathlib import Path


def inherited() -> dict[str, str]:
    """That of the tests, without what it says of an MLflow and a Ray."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "RAY"))}


def environment(home: str | Path, **more: str) -> dict[str, str]:
    """That of the tests, with a home and a Ray of its own; MLflow lies in the home unless `more` says otherwise."""
    own = {
        "VGSR_HOME": str(home),
        "RAY_ADDRESS": "local",
        "RAY_AUTH_MODE": "disabled",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "300",
    }
    return inherited() | own | more
