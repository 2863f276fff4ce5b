"""Whether MLflow may load a registered model: a model's place in; nothing, or why its code is not run, out.

MLflow runs the code that is stored with a model, whoever stored it. Of a model that VGSR has registered that is the few
lines of `from_code.py`, and these are compared with the installed ones before MLflow sees it.
"""

import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from vgsr.tracking.artifacts import download, listed
from vgsr.tracking.store import Tracker, TrackingError

OURS = Path(__file__).with_name("from_code.py")
DESCRIPTION = "MLmodel"
LOADER = "mlflow.pyfunc.loaders.code_model"
MOST = 1 << 20  # bytes of either file


def check(tracker: Tracker, uri: str) -> None:
    """TrackingError unless the MLflow model at an artifact URI has no code but this version's own."""
    sizes = listed(tracker, uri)
    for name in (DESCRIPTION, OURS.name):
        if not 0 <= sizes.get(name, -1) <= MOST:
            raise TrackingError(f"{uri}: not served: it has no {name}, so this is no model that VGSR has registered")
    with tempfile.TemporaryDirectory(prefix="vgsr-check-") as folder:
        download(tracker, uri, (DESCRIPTION, OURS.name), Path(folder))
        code, description = ((Path(folder) / name).read_bytes() for name in (OURS.name, DESCRIPTION))
    if code != OURS.read_bytes() or not _loads_only_that(description):
        raise TrackingError(
            f"{uri}: not served: the code stored with it is not this version's, and serving would run it. Register the "
            "checkpoint again with `vgsr best`, or serve it with `mlflow models serve` if you trust who made it"
        )


def _loads_only_that(description: bytes) -> bool:
    try:
        flavour: Any = yaml.safe_load(description)["flavors"]["python_function"]
        loads = (flavour["loader_module"], PurePosixPath(flavour["model_code_path"]).name)
        return loads == (LOADER, OURS.name) and not flavour.get("code")
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return False
