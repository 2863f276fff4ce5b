"""A checkpoint of another toolkit in; out, a folder that serves as a finished model, and to start a training from.

Such a model has no calibration, and nobody knows on whom it was trained: `checkpoint.json` says so (`imported`).
"""

import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

import vgsr
from vgsr import config
from vgsr.students import StudentError, published
from vgsr.teachers.weights import sha256_of
from vgsr.training import state
from vgsr.training.checkpoint_files import CheckpointError, saved

UNKNOWN = "unknown"  # the corpus


@dataclass(frozen=True)
class Imported:
    """What was written. parameters: how many numbers its layers learn; left_out: names of theirs that it did not need.

    features: what the toolkit's own models are given, where that is not what ours get; "" where it is.
    """

    folder: Path
    settings: config.Student
    parameters: int
    left_out: tuple[str, ...]
    features: str


def import_checkpoint(toolkit: str, checkpoint: str | Path, out: str | Path, backbone: str | None = None) -> Imported:
    """Write the network in a file of `toolkit` ("wespeaker", "3dspeaker") as a model folder `out`, which must be new.

    Nothing in the file is run. CheckpointError for a file that holds more than tensors, or another network than those
    that `vgsr.students.published` knows, or none that is `backbone`.
    """
    file, out = Path(checkpoint), Path(out)
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file")
    if out.exists():
        raise CheckpointError(f"{out}: is there already; name a new folder")
    content = saved(file)
    try:
        found = published.convert(toolkit, content, backbone)
    except StudentError as error:
        raise CheckpointError(f"{file}: {error}") from error
    del content
    name = re.sub(r"[^A-Za-z0-9._-]", "-", out.absolute().name).lstrip(".-")[:200] or toolkit
    experiment = config.build({"name": name, "corpus": {"manifest": UNKNOWN}, "student": found.settings.model_dump()})
    theirs = published.toolkits()[toolkit]
    facts = {
        "format": state.FORMAT,
        "vgsr": vgsr.__version__,
        "corpus": UNKNOWN,
        "calibration": None,
        "imported": {"toolkit": theirs.name, "file": file.name, "sha256": sha256_of(file), "left_out": found.left_out},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        save_file({key: tensor.contiguous() for key, tensor in found.tensors.items()}, staging / "student.safetensors")
        (staging / "experiment.yaml").write_text(experiment.yaml())
        (staging / "speakers.txt").write_text("")
        (staging / "checkpoint.json").write_text(json.dumps(facts, indent=2) + "\n")
        staging.chmod(0o755)
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    count = sum(tensor.numel() for key, tensor in found.tensors.items() if not re.search(r"\.(running|num)_", key))
    return Imported(out, found.settings, count, found.left_out, theirs.features)
