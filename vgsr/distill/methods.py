"""The table of distillation methods: a name in a config chooses a pure function.

In: functions `(student, teacher, labels, **options) -> Tensor` marked with `@method(...)`. Out: `METHODS`,
and errors that name the nearest thing that exists. A method returns un-reduced discrepancies, `[B]` (one an
utterance) or `[B, P]` (one a pair), never a scalar, so that a margin can act on each element and a weight on
each row.

What a method is given depends on its level (rows without a face are already left out):

    embedding, contrastive   projected student [B, dt], teacher [B, dt]
    relation                 student embedding [B, d], teacher [B, dt] (no projector)
    logit                    student logits [B, C] of its own classifier, teacher logits [B, C]
    classifier               student logits [B, C] from the teacher's centres, teacher logits [B, C]
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from torch import Tensor

Level = Literal["embedding", "relation", "contrastive", "logit", "classifier"]
Function = TypeVar("Function", bound=Callable[..., Tensor])


class MethodError(Exception):
    """A method or an option of it that does not exist, or a function that cannot be a method."""


@dataclass(frozen=True)
class Method:
    """One distillation method and what a person or a search must know to use it."""

    name: str
    level: Level
    function: Callable[..., Tensor]
    unit: str  # of one discrepancy: what a margin is measured in
    paper: str  # source, or "our definition"
    weight: float  # default λ
    margin_range: tuple[float, float]  # absolute margins worth searching, in `unit`

    @property
    def needs_projector(self) -> bool:
        """Whether the student must be projected to the teacher's dimension; else a projector has no use."""
        return self.level in ("embedding", "contrastive", "classifier")

    @property
    def needs_centres(self) -> bool:
        """Whether the teacher's logits, and so its class centres, are needed."""
        return self.level in ("logit", "classifier")

    @property
    def options(self) -> dict[str, float]:
        """Names and defaults of the method's options."""
        parameters = list(inspect.signature(self.function).parameters.values())[3:]
        return {parameter.name: parameter.default for parameter in parameters}


METHODS: dict[str, Method] = {}


def method(
    name: str, *, level: Level, unit: str, paper: str, weight: float, margin_range: tuple[float, float]
) -> Callable[[Function], Function]:
    """Put the decorated function into `METHODS` under `name` and return it unchanged.

    Raises MethodError if the name is taken by another function, the level is unknown, or the signature is not
    `(student, teacher, labels, option=default, ...)`.
    """

    def register(function: Function) -> Function:
        if level not in get_args(Level):
            raise MethodError(f"method {name!r}: no level {level!r}{_instead(level, get_args(Level))}")
        parameters = list(inspect.signature(function).parameters.values())
        if [p.name for p in parameters[:3]] != ["student", "teacher", "labels"] or any(
            p.default is p.empty for p in parameters[3:]
        ):
            raise MethodError(
                f"method {name!r}: the function must be (student, teacher, labels, option=default, ...), "
                f"not {inspect.signature(function)}"
            )
        known = METHODS.get(name)
        # The same function again (a reloaded module, a notebook cell run twice) replaces itself.
        if known is not None and _origin(known.function) != _origin(function):
            raise MethodError(f"method {name!r} is already {_origin(known.function)}: choose another name")
        METHODS[name] = Method(name, level, function, unit, paper, weight, margin_range)
        return function

    return register


def find(name: str) -> Method:
    """The method of that name. Raises MethodError naming the nearest one that exists."""
    if name not in METHODS:
        raise MethodError(f"no distillation method {name!r}{_instead(name, METHODS)}")
    return METHODS[name]


def check_options(chosen: Method, options: Mapping[str, float]) -> None:
    """Raise MethodError, naming the nearest option, for an option that the method does not have."""
    for name in options:
        if name not in chosen.options:
            instead = _instead(name, chosen.options)
            raise MethodError(f"method {chosen.name!r} has no option {name!r}{instead}")


def _instead(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    return f"{guess} (there is: {', '.join(names) or 'none'})"


def _origin(function: Callable[..., Tensor]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
