"""The table of distillation methods: a name in a config chooses a pure function.

In: functions `(student, teacher, labels, **options) -> Tensor` marked with `@method(...)`. Out: `METHODS`,
and errors that name the nearest thing that exists. A method returns un-reduced discrepancies, `[B]` (one an
utterance) or `[B, P]` (one a pair), never a scalar, so that a margin can act on each element and a weight on
each row.

Two kinds of keyword-only arguments come from the objective, which keeps them from batch to batch:

    past            a `Past`: the newest rows of earlier batches, `queue` of them at most
    any other name  a learned tensor, which starts as `learned[name](teacher dimension)` says

What student and teacher are depends on the level (`INPUTS`); rows without a face are already left out.

Default λ: the published one where it fits, else one of which the gradient on the embedding is between a tenth and
all of the classification's, in the first epochs of a small ECAPA on an hour of speech. Margins worth searching run
from 0 to about the median discrepancy there. Both are our measurement, and a start, not a law.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Literal, TypeVar, get_args

from torch import Tensor

KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY
PLUGINS = "vgsr.methods"  # entry points of installed packages, loaded with the table
Learned = Callable[[int], Tensor]
Level = Literal["embedding", "relation", "contrastive", "logit", "classifier"]
INPUTS: dict[Level, str] = {
    "embedding": "student embedding projected to the teacher's dimension [B, dt], teacher embedding [B, dt]",
    "relation": "student embedding as it is [B, d], teacher embedding [B, dt]; no projector",
    "contrastive": "student embedding projected to the teacher's dimension [B, dt], teacher embedding [B, dt]",
    "logit": "logits of the student's own classifier [B, C], teacher's logits from its class centres [B, C]",
    "classifier": "logits of the projected student from the teacher's class centres [B, C], teacher's likewise",
}
Function = TypeVar("Function", bound=Callable[..., Tensor])


class MethodError(Exception):
    """A method or an option of it that does not exist, or a function that cannot be a method."""


@dataclass(frozen=True)
class Past:
    """Rows of earlier batches, as the method was given them, without gradient; Q = 0 at first."""

    student: Tensor  # [Q, ds]
    teacher: Tensor  # [Q, dt]
    labels: Tensor  # [Q]


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
    self_pairs: bool = False  # [B, B]: whether a row's pair with itself says anything; if not, it is left out
    queue: int = 0  # rows of earlier batches that it is given as `past`; 0 = it takes none
    learned: Mapping[str, Learned] = field(default_factory=dict)  # name → start, from the teacher's dimension

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
        """Names and defaults of the method's options; with a queue, its length is one of them."""
        parameters = list(inspect.signature(self.function).parameters.values())[3:]
        own = {parameter.name: parameter.default for parameter in parameters if parameter.kind is not KEYWORD_ONLY}
        return {**own, "queue": self.queue} if self.queue else own


METHODS: dict[str, Method] = {}


def method(
    name: str,
    *,
    level: Level,
    unit: str,
    paper: str,
    weight: float,
    margin_range: tuple[float, float],
    self_pairs: bool = False,
    queue: int = 0,
    learned: Mapping[str, Learned] | None = None,
) -> Callable[[Function], Function]:
    """Put the decorated function into `METHODS` under `name` and return it unchanged.

    Raises MethodError if the name is taken by another function, the level is unknown, or the signature is not
    `(student, teacher, labels, option=default, ..., *, past, learned tensor, ...)`.
    """

    def register(function: Function) -> Function:
        if level not in get_args(Level):
            raise MethodError(f"method {name!r}: no level {level!r}{_instead(level, get_args(Level))}")
        parameters = list(inspect.signature(function).parameters.values())
        given = {parameter.name for parameter in parameters if parameter.kind is KEYWORD_ONLY}
        options = [parameter for parameter in parameters[3:] if parameter.kind is not KEYWORD_ONLY]
        wanted = {*(learned or {}), *(["past"] if queue else [])}
        if [p.name for p in parameters[:3]] != ["student", "teacher", "labels"] or any(
            p.default is p.empty for p in options
        ):
            raise MethodError(
                f"method {name!r}: the function must be (student, teacher, labels, option=default, ...), "
                f"not {inspect.signature(function)}"
            )
        if given != wanted:
            raise MethodError(
                f"method {name!r}: its keyword-only arguments must be what queue and learned declare "
                f"({', '.join(sorted(wanted)) or 'none'}), not {', '.join(sorted(given)) or 'none'}"
            )
        known = METHODS.get(name)
        # The same function again (a reloaded module, a notebook cell run twice) replaces itself.
        if known is not None and _origin(known.function) != _origin(function):
            raise MethodError(f"method {name!r} is already {_origin(known.function)}: choose another name")
        METHODS[name] = Method(
            name, level, function, unit, paper, weight, margin_range, self_pairs, queue, dict(learned or {})
        )
        return function

    return register


def load_plugins() -> None:
    """Import what installed packages declare as entry points of the group `vgsr.methods`; MethodError if one fails.

    They are loaded in every process that imports `vgsr.distill`, so a plugin's methods work on Ray's workers too.
    """
    for point in entry_points(group=PLUGINS):
        try:
            point.load()
        except Exception as error:  # whatever a stranger's module raises
            raise MethodError(f"the plugin {point.name!r} ({point.value}) cannot be loaded: {error}") from error


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
