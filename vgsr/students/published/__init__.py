"""Published checkpoints: the tensors of another toolkit by its names in; a student of ours, by its settings, and its
tensors out.

What a toolkit calls its layers is one file here: a `Recipe` a backbone, rules that turn names into ours, and whatever
a name alone does not say. Nothing is dropped silently: every tensor of theirs is used, or named as left out.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor

from vgsr import config, students
from vgsr.config import nearest
from vgsr.students import StudentError

SHOWN = 4  # names that a message lists
Tensors = Mapping[str, Tensor]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]


class Sizes(NamedTuple):
    """What a student is built with; `backbone` is a name of `vgsr.students`."""

    backbone: str
    channels: int
    embedding: int
    pooling: str


@dataclass(frozen=True)
class Recipe:
    """How a toolkit's network becomes a student of ours.

    family: what a message calls it, and a user who asks for any size of it. mark: a pattern of names that only this
    network has. sizes: of their tensors. rules: patterns and replacements, applied to a name one after the other.
    change: of the tensors under our names, where one of theirs is several of ours, or has another order or shape.
    """

    family: str
    mark: str
    sizes: Callable[[Tensors], Sizes]
    rules: Sequence[Rule]
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda tensors: tensors


@dataclass(frozen=True)
class Toolkit:
    """name: as messages say it. left_out: a pattern of names of what training needs and an embedding does not.
    features: what its published models were given, where that is not what ours get."""

    name: str
    left_out: str
    features: str
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True)
class Converted:
    """A student of ours with their weights, float32. left_out: names of theirs that it has no use for."""

    settings: config.Student
    tensors: dict[str, Tensor]
    left_out: tuple[str, ...]


def toolkits() -> dict[str, Toolkit]:
    """By the names that a user types."""
    from vgsr.students.published import speakerlab, wespeaker  # they are made of what is above

    return {"wespeaker": wespeaker.TOOLKIT, "3dspeaker": speakerlab.TOOLKIT}


def convert(toolkit: str, checkpoint: Mapping[str, object], backbone: str | None = None) -> Converted:
    """The student that a checkpoint of `toolkit` holds, as the names and shapes of its tensors tell.

    backbone: what it must be, by our name or the family's. StudentError where it is something else or nothing that we
    know, and, all in one message, for tensors that are missing, unknown, or of another shape than ours.
    """
    known = toolkits()
    if toolkit not in known:
        raise StudentError(f"no toolkit is called {toolkit!r}{nearest(toolkit, known)} (known: {', '.join(known)})")
    theirs, own = known[toolkit], _tensors(checkpoint)
    left_out = tuple(sorted(name for name in own if re.match(theirs.left_out, name)))
    own = {name: tensor for name, tensor in own.items() if name not in left_out}
    recipe = _recipe(theirs, own)
    try:
        sizes = recipe.sizes(own)
        settings = config.Student(**sizes._asdict())
    except (KeyError, IndexError, ValidationError) as error:
        raise StudentError(f"no {recipe.family} of {theirs.name}: its sizes cannot be told ({error})") from error
    if backbone not in (None, recipe.family, sizes.backbone):
        raise StudentError(f"it is {sizes.backbone} of {theirs.name}, not {backbone!r}")
    renamed: dict[str, Tensor] = {}
    names: dict[str, str] = {}  # ours → theirs
    for name, tensor in own.items():
        ours = name
        for pattern, replacement in recipe.rules:
            ours = re.sub(pattern, replacement, ours)
        if ours in names:
            raise StudentError(f"{name!r} and {names[ours]!r} are one tensor of ours, {ours!r}")
        renamed[ours], names[ours] = tensor.float() if tensor.is_floating_point() else tensor, name
    try:
        renamed = recipe.change(renamed)
        with torch.device("meta"):  # takes no memory, whatever the shapes say
            wanted = students.of(settings).state_dict()
    except (KeyError, IndexError, RuntimeError, OverflowError) as error:
        raise StudentError(f"no {recipe.family} of {theirs.name} ({str(error)[:200]})") from error
    _compare(f"{theirs.name}'s {recipe.family}", renamed, wanted, names)
    return Converted(settings, renamed, left_out)


def _tensors(checkpoint: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors of a checkpoint by their names, out of `state_dict` or `model` and without DDP's `module.`."""
    for inside in ("state_dict", "model"):
        found = checkpoint.get(inside)
        if isinstance(found, Mapping):
            checkpoint = found
    found = {name: value for name, value in checkpoint.items() if isinstance(value, Tensor)}
    if not found:
        raise StudentError(f"no tensors are in it (but {_some(sorted(map(str, checkpoint)))})")
    for name, tensor in found.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise StudentError(f"{name!r} has values that are no numbers (NaN or infinite)")
    if all(name.startswith("module.") for name in found):
        found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    return found


def _recipe(toolkit: Toolkit, tensors: Tensors) -> Recipe:
    """The recipe whose mark is among the names."""
    for recipe in toolkit.recipes:
        if any(re.match(recipe.mark, name) for name in tensors):
            return recipe
    families = ", ".join(recipe.family for recipe in toolkit.recipes)
    raise StudentError(f"no network of {toolkit.name} that is known here ({families}): it has {_some(sorted(tensors))}")


def _compare(what: str, found: Tensors, wanted: Tensors, names: Mapping[str, str]) -> None:
    """StudentError, with all that is wrong, unless there are exactly the wanted names and shapes."""
    wrong = [
        f"{names.get(name, name)!r} is {list(found[name].shape)} instead of {list(wanted[name].shape)}"
        for name in sorted(found.keys() & wanted.keys())
        if found[name].shape != wanted[name].shape
    ]
    said = [
        f"{len(listed)} {kind}: {_some(listed)}"
        for kind, listed in (
            ("missing", sorted(wanted.keys() - found.keys())),
            ("unknown", sorted(names.get(name, name) for name in found.keys() - wanted.keys())),
            ("of another shape", wrong),
        )
        if listed
    ]
    if said:
        raise StudentError(f"not {what} as it is known here; tensors {'; '.join(said)}")


def _some(names: Sequence[str]) -> str:
    listed = ", ".join(name[:100] for name in names[:SHOWN])
    return f"{listed} and {len(names) - SHOWN:,} more" if len(names) > SHOWN else listed or "nothing"
