"""Checkpoints: everything a run needs to go on as if it had never stopped, and all that the finished model needs.

    student.safetensors  heads.safetensors   weights
    training.pt                              optimiser, objective (margin statistics), position: tensors and numbers
    experiment.yaml  checkpoint.json         the resolved experiment; epoch, figures, calibration, data digests
    speakers.txt                             training speakers in class order (evaluation refuses to test on them)

Random numbers are functions of (seed, position), see `vgsr.data.batches`, so there is no generator to save. Nothing
here is unpickled: safetensors, `weights_only=True`, YAML and JSON.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

import vgsr
from vgsr.config import Experiment

FORMAT = 2


class CheckpointError(Exception):
    """A checkpoint that cannot be used here; the text says why."""


@dataclass
class Position:
    """Where a run stands: the next batch to train on, and the figures so far."""

    epoch: int = 0  # epochs finished
    batch: int = 0  # batches of the current epoch finished
    sums: dict[str, float] = field(default_factory=dict)  # of the current epoch
    steps: dict[str, list[float]] = field(default_factory=dict)  # of the current epoch, one value a step
    history: list[dict[str, Any]] = field(default_factory=list)  # rows of the finished epochs
    best: dict[str, float] = field(default_factory=dict)  # validation figures of the best epoch
    best_checkpoint: str = ""


def write(
    folder: Path,
    *,
    experiment: Experiment,
    student: nn.Module,
    heads: nn.Module,
    objective: nn.Module,
    optimiser: torch.optim.Optimizer,
    position: Position,
    speakers: list[str],
    facts: dict[str, Any],
) -> None:
    """Write a checkpoint into an empty folder. `facts` are JSON values for readers (digests, figures, calibration)."""
    save_file(_plain(student), folder / "student.safetensors")
    save_file(_plain(heads), folder / "heads.safetensors")
    torch.save(
        {
            "format": FORMAT,
            "experiment": experiment.digest,
            "objective": objective.state_dict(),
            "optimiser": optimiser.state_dict(),
            "position": asdict(position),
        },
        folder / "training.pt",
    )
    (folder / "experiment.yaml").write_text(experiment.yaml())
    (folder / "speakers.txt").write_text("".join(f"{name}\n" for name in speakers), encoding="utf-8")
    header = {"format": FORMAT, "vgsr": vgsr.__version__, "epoch": position.epoch, "batch": position.batch, **facts}
    (folder / "checkpoint.json").write_text(json.dumps(header, indent=2) + "\n")


def read(
    folder: Path,
    *,
    experiment: Experiment,
    data_digest: str,
    student: nn.Module,
    heads: nn.Module,
    objective: nn.Module,
    optimiser: torch.optim.Optimizer,
    device: torch.device,
) -> Position:
    """Load a checkpoint into the given parts; CheckpointError when it belongs to another experiment or other data."""
    facts = header(folder)
    saved = torch.load(folder / "training.pt", map_location=device, weights_only=True)
    if saved["experiment"] != experiment.digest:
        raise CheckpointError(
            f"{folder}: this checkpoint is of another experiment (digest {saved['experiment']}, now "
            f"{experiment.digest}); give the changed experiment another name"
        )
    if facts["data_digest"] != data_digest:
        raise CheckpointError(
            f"{folder}: the training corpus or its teacher bank has changed since this checkpoint (digest "
            f"{facts['data_digest'][:12]}, now {data_digest[:12]}); give the experiment another name"
        )
    student.load_state_dict(load_file(folder / "student.safetensors", device=str(device)))
    heads.load_state_dict(load_file(folder / "heads.safetensors", device=str(device)))
    objective.load_state_dict(saved["objective"])
    optimiser.load_state_dict(saved["optimiser"])
    return Position(**saved["position"])


def header(folder: str | Path) -> dict[str, Any]:
    """checkpoint.json of a checkpoint folder; CheckpointError when there is none or its format is newer."""
    file = Path(folder) / "checkpoint.json"
    try:
        facts = json.loads(file.read_text())
    except OSError as error:
        raise CheckpointError(f"{folder}: not a checkpoint (no checkpoint.json in it)") from error
    except ValueError as error:
        raise CheckpointError(f"{file}: damaged ({error})") from error
    if facts.get("format") != FORMAT:
        raise CheckpointError(f"{folder}: checkpoint format {facts.get('format')}; this VGSR reads format {FORMAT}")
    return facts


def _plain(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
