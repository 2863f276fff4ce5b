"""The name of a backbone in, an untrained student out: features [B, T, bins] -> embeddings [B, d].

A new backbone is one file here with `@student("its name", …)` above its builder, and one import at the end of this
file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import nn

from vgsr import config
from vgsr.config import nearest


class Builder(Protocol):
    """What builds a student: `bins` feature channels, `channels` wide, `embedding` numbers out, pooled by `pooling`."""

    def __call__(self, *, bins: int, channels: int, embedding: int, pooling: str) -> nn.Module: ...


@dataclass(frozen=True)
class Backbone:
    """A backbone by its name, with what was published of it: `build` takes these where nothing else is asked for."""

    name: str
    builder: Builder
    channels: int  # the width that its paper scales it by
    embedding: int
    pooling: str  # a name of `vgsr.students.pooling`
    parameters: float  # million, of the published model
    source: str  # where that count stands
    bins: int  # feature channels that it hears


B = TypeVar("B", bound=Builder)
STUDENTS: dict[str, Backbone] = {}


class StudentError(ValueError):
    """A student that does not exist or cannot be built with these settings."""


def student(
    name: str, *, channels: int, embedding: int, pooling: str, parameters: float, source: str, bins: int = 80
) -> Callable[[B], B]:
    """Decorator: make the builder (a function or an `nn.Module` class) available under `name`, unchanged."""

    def register(builder: B) -> B:
        STUDENTS[name] = Backbone(name, builder, channels, embedding, pooling, parameters, source, bins)
        return builder

    return register


def find(name: str) -> Backbone:
    """The backbone of that name; StudentError when there is none, with the nearest one."""
    if name not in STUDENTS:
        raise StudentError(f"no student is called {name!r}{nearest(name, STUDENTS)}")
    return STUDENTS[name]


def build(
    name: str,
    *,
    bins: int | None = None,
    channels: int | None = None,
    embedding: int | None = None,
    pooling: str | None = None,
) -> nn.Module:
    """A new student `name`, of its published size where nothing else is said; StudentError when there is none of that
    name, with the nearest one, or it cannot be built so."""
    known = find(name)
    return known.builder(
        bins=known.bins if bins is None else bins,
        channels=known.channels if channels is None else channels,
        embedding=known.embedding if embedding is None else embedding,
        pooling=known.pooling if pooling is None else pooling,
    )


def of(settings: config.Student) -> nn.Module:
    """A new student of these settings; StudentError where there is none."""
    return build(
        settings.backbone,
        channels=settings.channels,
        embedding=settings.embedding,
        pooling=settings.pooling,
    )


def bins(settings: config.Student) -> int:
    """How many feature channels a student of these settings hears; StudentError where there is none."""
    return find(settings.backbone).bins


def resolve(settings: config.Student) -> config.Student:
    """The settings with what the backbone was published with, where they say nothing."""
    known, said = find(settings.backbone), settings.model_dump()
    return settings.model_copy(
        update={key: getattr(known, key) for key in ("channels", "embedding", "pooling") if said[key] is None}
    )


from vgsr.students import campplus as campplus  # noqa: E402  (a backbone registers itself when it is imported)
from vgsr.students import ecapa as ecapa  # noqa: E402
from vgsr.students import ecapa_published as ecapa_published  # noqa: E402
from vgsr.students import eres2netv2 as eres2netv2  # noqa: E402
from vgsr.students import redimnet as redimnet  # noqa: E402
from vgsr.students import resnet as resnet  # noqa: E402
from vgsr.students import xvector as xvector  # noqa: E402
