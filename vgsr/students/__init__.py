"""The name of a backbone in, an untrained student out: features [B, T, bins] -> embeddings [B, d].

A new backbone is one file here with `@student("its name")` above its builder, and one import at the end of
this file.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from torch import nn

from vgsr.config import nearest


class Builder(Protocol):
    """What builds a student: `bins` feature channels, `channels` wide, `embedding` numbers out."""

    def __call__(self, *, bins: int, channels: int, embedding: int) -> nn.Module: ...


B = TypeVar("B", bound=Builder)
STUDENTS: dict[str, Builder] = {}


class StudentError(ValueError):
    """A student that does not exist or cannot be built with these settings."""


def student(name: str) -> Callable[[B], B]:
    """Decorator: make the builder (a function or an `nn.Module` class) available under `name`, unchanged."""

    def register(builder: B) -> B:
        STUDENTS[name] = builder
        return builder

    return register


def build(name: str, *, bins: int, channels: int, embedding: int) -> nn.Module:
    """A new student `name`; StudentError when there is none of that name, with the nearest one."""
    if name not in STUDENTS:
        raise StudentError(f"no student is called {name!r}{nearest(name, STUDENTS)}")
    return STUDENTS[name](bins=bins, channels=channels, embedding=embedding)


from vgsr.students import ecapa as ecapa  # noqa: E402  (a backbone registers itself when it is imported)
