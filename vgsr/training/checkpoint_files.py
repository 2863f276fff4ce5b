"""The files of a checkpoint, which may be anybody's: a folder in; what they hold out, or a CheckpointError.

Nothing in them is run, nothing outside the folder is read, and nothing is made that is larger than the files are:
shapes are looked at before there is a tensor.
"""

import math
import pickle
import re
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from vgsr import storage
from vgsr.storage import StorageError

MOST_VALUES = 10_000_000  # in the training state, tensors counted as one
DEEPEST = 20
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class CheckpointError(Exception):
    """A checkpoint that cannot be used here; the text says why."""


def file_of(folder: str | Path, name: str) -> Path:
    """A file of the folder; CheckpointError where there is none, or a link that leads out of the folder."""
    file = Path(folder) / name
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise CheckpointError(f"{file}: refused: not a file")
        if not file.resolve().is_relative_to(Path(folder).resolve()):
            raise CheckpointError(
                f"{file}: refused: a link to {file.resolve()}, outside the checkpoint; if the folder is your own, copy "
                "the file there"
            )
    except (OSError, ValueError, RuntimeError) as error:  # a byte 0 in its name, links in a circle
        raise CheckpointError(f"{folder}: not a checkpoint (no {name} in it)") from error
    return file


def facts(folder: str | Path) -> dict[str, Any]:
    """checkpoint.json."""
    file = file_of(folder, "checkpoint.json")
    try:
        found = storage.read_json(file)
    except StorageError as error:
        raise CheckpointError(str(error)) from error
    except ValueError as error:
        raise CheckpointError(f"{file}: damaged ({str(error)[:200]})") from error
    if not isinstance(found.get("row", {}), dict):
        raise CheckpointError(f"{file}: damaged (its row is no mapping)")
    return found


def usable(folder: str | Path, found: Mapping[str, Any]) -> None:
    """CheckpointError unless the facts hold what a finished model decides by, or, of an imported one, whose it is."""
    if "imported" in found:
        whose = found["imported"]
        if not isinstance(whose, dict) or not all(isinstance(whose.get(key), str) for key in ("toolkit", "sha256")):
            raise CheckpointError(f"{folder}/checkpoint.json: damaged (it does not say what was imported)")
        texts: tuple[str, ...] = ("corpus",)
    else:
        _decides(folder, found)
        texts = ("corpus", "validation")
    for name in texts:
        if not isinstance(found.get(name), str):
            raise CheckpointError(f"{folder}/checkpoint.json: damaged (its {name} is no text)")


def _decides(folder: str | Path, found: Mapping[str, Any]) -> None:
    given = found["calibration"]
    numbers = [*given.values()] if isinstance(given, dict) and set(given) == {"scale", "offset"} else [None]
    for value in (*numbers, found.get("eer_threshold")):
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise CheckpointError(f"{folder}/checkpoint.json: damaged (its calibration or threshold is no number)")


def speakers(folder: str | Path) -> list[str]:
    """speakers.txt: names, one a line."""
    file = file_of(folder, "speakers.txt")
    try:
        text = storage.read_small(file).decode("utf-8")
    except (StorageError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file}: damaged ({error})") from error
    if CONTROL.search(text):
        raise CheckpointError(f"{file}: refused: control characters in a speaker's name")
    return [name for name in text.split("\n") if name]


def check_shapes(file: Path, module: nn.Module) -> None:
    """CheckpointError unless a safetensors file has exactly the tensors of a module, which may be on the device `meta`.

    Only the file's header is read, and held against the size of the file.
    """
    wanted = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    try:
        with safe_open(file, "pt") as opened:
            there = {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file}: damaged ({str(error)[:200]})") from error
    wrong = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    if wrong:
        first = wrong[0]
        raise CheckpointError(
            f"{file}: not the network that the experiment beside it describes: {len(wrong)} tensors differ, such as "
            f"{first[:80]!r}, {_shape(there.get(first))} in the file and {_shape(wanted.get(first))} in the experiment"
        )


def load_weights(file: Path, module: nn.Module, device: torch.device | str = "cpu") -> None:
    """A safetensors file into a module of these shapes, on its device."""
    check_shapes(file, module)
    try:
        with safe_open(file, "pt", device=str(device)) as opened:
            module.load_state_dict({name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118
    except (SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointError(f"{file}: damaged ({str(error)[:200]})") from error


def training_state(folder: str | Path, device: torch.device) -> dict[str, Any]:
    """training.pt: tensors, numbers, texts, lists and mappings. Whatever else is pickled in it is refused unread."""
    return saved(file_of(folder, "training.pt"), device)


def saved(file: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `torch.save` wrote into a file, refused unread where it is more than tensors, numbers, texts, lists and
    mappings."""
    _check_archive(file)
    try:
        found = torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]{1,100})", str(error))
        raise CheckpointError(
            f"{file}: refused, and nothing in it was run: it holds more than tensors and numbers"
            + (f" ({named[1]})" if named else "")
        ) from None  # torch's own words say how to run it all the same
    except Exception as error:  # whatever a damaged pickle makes torch stumble over
        raise CheckpointError(f"{file}: damaged ({type(error).__name__}: {str(error)[:200]})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: damaged (no mapping of names)")
    _count(found, file, 0, 0)
    return found


def load_optimiser(folder: str | Path, optimiser: torch.optim.Optimizer, saved: Any) -> None:
    """An optimiser's state, whose tensors have the shapes of its parameters."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    try:
        for place, values in saved["state"].items():
            shapes = {tuple(value.shape) for value in values.values() if isinstance(value, torch.Tensor)}
            if not shapes <= {(), tuple(parameters[place].shape)}:
                raise ValueError(f"the state of parameter {place} has another shape")
        optimiser.load_state_dict(saved)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{folder}/training.pt: not of this optimiser ({str(error)[:200]})") from error


def _check_archive(file: Path) -> None:
    """CheckpointError unless a file is an archive that stands for no more bytes than it has."""
    try:
        with zipfile.ZipFile(file) as archive:
            items = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{file}: damaged, or not written by torch.save ({error})") from error
    size = file.stat().st_size
    if any(item.compress_type != zipfile.ZIP_STORED for item in items) or sum(item.file_size for item in items) > size:
        raise CheckpointError(f"{file}: refused: a compressed archive, which torch.save does not write")


def _count(value: Any, file: Path, depth: int, so_far: int) -> int:
    """How many values there are in a value, those before it included; CheckpointError for too many and for odd ones."""
    if depth > DEEPEST or so_far > MOST_VALUES:
        raise CheckpointError(f"{file}: refused: more than {MOST_VALUES:,} values, or nested deeper than {DEEPEST}")
    so_far += 1
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str | int):
                raise CheckpointError(f"{file}: refused: a key of the kind {type(key).__name__}")
            so_far = _count(inner, file, depth + 1, so_far)
    elif isinstance(value, list | tuple):
        for inner in value:
            so_far = _count(inner, file, depth + 1, so_far)
    elif isinstance(value, torch.Tensor):
        plain = value.layout == torch.strided and not value.is_quantized and value.device.type != "meta"
        if not plain or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(f"{file}: refused: a tensor of {list(value.shape)} that is not all there")
    elif value is not None and not isinstance(value, str | int | float | bool):
        raise CheckpointError(f"{file}: refused: a value of the kind {type(value).__name__}")
    return so_far


def _shape(shape: list[int] | None) -> str:
    return "missing" if shape is None else str(shape)
