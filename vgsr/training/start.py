"""`student.start`: the weights that training begins with, of a folder or a safetensors file; a place, or none, in.

They are what `vgsr import` has written, or any checkpoint of the same student.
"""

from pathlib import Path

from torch import nn

from vgsr import config, storage, students
from vgsr.config import ConfigError
from vgsr.storage import StorageError
from vgsr.teachers.weights import sha256_of
from vgsr.training import checkpoint_files
from vgsr.training.checkpoint_files import CheckpointError

WEIGHTS, DESCRIPTION = "student.safetensors", "experiment.yaml"


def digest(settings: config.Student) -> str | None:
    """SHA-256 of the weights' content, 64 hex digits; None without a start. ConfigError where there is no such file."""
    return None if settings.start is None else sha256_of(_file(settings.start, WEIGHTS))


def load(settings: config.Student, student: nn.Module) -> None:
    """Give a student, which is of these settings, the weights to start from; without a start it stays as it is.

    ConfigError where there are none, or of another student.
    """
    if settings.start is not None:
        check(settings, student)
        checkpoint_files.load_weights(_file(settings.start, WEIGHTS), student, next(student.parameters()).device)


def check(settings: config.Student, student: nn.Module) -> None:
    """ConfigError unless the weights to start from are of this student, which may be on the device `meta`."""
    if settings.start is None:
        return
    weights = _file(settings.start, WEIGHTS)
    _same(settings.start, students.resolve(settings))
    try:
        checkpoint_files.check_shapes(weights, student)
    except CheckpointError as error:
        raise ConfigError(f"student.start: {error}") from error


def _same(place: str, wanted: config.Student) -> None:
    """ConfigError where what lies beside the weights describes another student: not all of one is in its shapes."""
    try:
        described = students.resolve(config.load(_file(place, DESCRIPTION)).student).model_dump()
    except (ConfigError, students.StudentError):
        return
    keys = [key for key in ("backbone", "channels", "embedding", "pooling") if described[key] != getattr(wanted, key)]
    if keys:
        said = ", ".join(f"student.{key}: {described[key]}" for key in keys)
        raise ConfigError(f"student.start: {place} is another student; to start from it, set {said}")


def _file(place: str, name: str) -> Path:
    if place.endswith(".safetensors"):
        place, slash, own = place.rpartition("/")
        place, name = place + slash or ".", own if name == WEIGHTS else name
    try:
        return storage.local(storage.join(place, name))
    except StorageError as error:
        raise ConfigError(f"student.start: {error}") from error
