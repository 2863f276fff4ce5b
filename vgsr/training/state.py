"""Checkpoints: everything a run needs to go on as if it had never stopped, and all that the finished model needs.

    student.safetensors  heads.safetensors   weights
    training.pt                              optimiser, objective (margin statistics), sums of weights, position
    experiment.yaml  checkpoint.json         the resolved experiment; epoch, figures, calibration, data digests
    speakers.txt                             training speakers in class order (evaluation refuses to test on them)

Random numbers are functions of (seed, position), see `vgsr.data.batches`, so there is no generator to save. Nothing
here is unpickled: safetensors, `weights_only=True`, YAML and JSON (`checkpoint_files`).
"""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

import vgsr
from vgsr.config import Experiment
from vgsr.training import checkpoint_files
from vgsr.training.averaging import Average
from vgsr.training.checkpoint_files import CheckpointError

FORMAT = 2
CHECKPOINT = r"(\d{5,}-\d{6,})?"  # what the folder of one is called, see `session.checkpoint_name`; none yet


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
    average: Average | None = None,
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
            "average": (average or Average()).state(),
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
    average: Average,
    device: torch.device,
) -> Position:
    """Load a checkpoint into the given parts; CheckpointError when it belongs to another experiment or other data."""
    facts = header(folder)
    saved = checkpoint_files.training_state(folder, device)
    if saved.get("experiment") != experiment.digest:
        raise CheckpointError(
            f"{folder}: this checkpoint is of another experiment (digest {str(saved.get('experiment'))[:12]}, now "
            f"{experiment.digest}); give the changed experiment another name"
        )
    if facts.get("data_digest") != data_digest:
        raise CheckpointError(
            f"{folder}: the training corpus, its teacher bank or the weights to start from have changed since this "
            "checkpoint (digest "
            f"{str(facts.get('data_digest'))[:12]}, now {data_digest[:12]}); give the experiment another name"
        )
    try:
        position = Position(**saved["position"])
        if not re.fullmatch(CHECKPOINT, position.best_checkpoint):
            raise ValueError(f"a checkpoint is not called {position.best_checkpoint[:80]!r}")
        objective.load_state_dict(saved["objective"])
        average.restore(saved["average"], {"student": student, "heads": heads})
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{folder}/training.pt: damaged ({str(error)[:200]})") from error
    checkpoint_files.load_weights(checkpoint_files.file_of(folder, "student.safetensors"), student, device)
    checkpoint_files.load_weights(checkpoint_files.file_of(folder, "heads.safetensors"), heads, device)
    checkpoint_files.load_optimiser(folder, optimiser, saved.get("optimiser"))
    return position


def header(folder: str | Path) -> dict[str, Any]:
    """checkpoint.json of a checkpoint folder; CheckpointError when there is none or its format is newer."""
    facts = checkpoint_files.facts(folder)
    if facts.get("format") != FORMAT:
        said = str(facts.get("format"))[:40]
        raise CheckpointError(f"{folder}: checkpoint format {said}; this VGSR reads format {FORMAT}")
    return facts


def _plain(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
