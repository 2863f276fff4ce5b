"""One distillation: a method, its margin, and what they keep from batch to batch.

In: what student and teacher say about the rows that have a face. Out: a loss a row, and what to log.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgsr.distill.margin import Margin, Margined
from vgsr.distill.methods import Method, Past, check_options

PAIRED = ("relation", "contrastive")  # levels that compare rows with one another: one alone says nothing
PAST = ("past_student", "past_teacher", "past_labels")  # buffers of a method with a queue


class ObjectiveError(Exception):
    """Settings that do not fit together, or a batch that lacks what a method needs."""


@dataclass(frozen=True)
class Faces:
    """The F rows of a batch that have a face, in float32 at least."""

    embedding: Tensor  # [F, d]
    projected: Tensor | None  # [F, dt]
    logits: Tensor  # [F, C]
    teacher: Tensor  # [F, dt]
    labels: Tensor  # [F]


@dataclass(frozen=True)
class Taught:
    """What one distillation says of a batch."""

    losses: Tensor  # [F] after the margin, mean over pairs; [0] if the faces are too few to compare
    discrepancy: Tensor  # scalar, detached: mean of D over the elements that count; 0 of none
    active: Tensor  # scalar, detached: share of them outside the margin
    mu: Tensor  # scalar, detached: the margin in the method's unit


class Distillation(nn.Module):
    """A method behind a margin, with λ = `weight` (none: the method's own).

    `dimension` is the teacher's; `centres` [C, dt] its class centres, one a training speaker in the order of the
    labels, zero for a speaker without a face: of such the teacher says nothing, so methods that compare what is said
    of all speakers leave them out. Centres follow from the teacher bank and are not in the state_dict; learned tensors,
    the rows of earlier batches and the margin's statistics are. ObjectiveError for what does not fit the method.
    """

    method: Method
    margin: Margin
    centres: Tensor | None  # [K, dt], of the K speakers that have a face
    classes: Tensor | None  # [K] their labels; None if all have one
    past_student: Tensor
    past_teacher: Tensor
    past_labels: Tensor

    def __init__(
        self,
        method: Method,
        *,
        dimension: int,
        weight: float | None = None,
        options: Mapping[str, float] | None = None,
        margin: Margin | None = None,
        centres: Tensor | None = None,
        teacher_scale: float = 32.0,
    ) -> None:
        super().__init__()
        check_options(method, options or {})
        known, classes = _known(method, centres) if method.needs_centres else (None, None)
        self.method, self.weight = method, method.weight if weight is None else weight
        self.options, self.teacher_scale = dict(options or {}), teacher_scale
        self.margin = Margin() if margin is None else margin
        self.learned = nn.ParameterDict(
            {name: nn.Parameter(start(dimension)) for name, start in method.learned.items()}
        )
        self.register_buffer("centres", known, persistent=False)
        self.register_buffer("classes", classes, persistent=False)
        rows = self.options.pop("queue", method.queue)
        if method.queue and (rows < 1 or rows != int(rows)):
            raise ObjectiveError(f"method {method.name!r}: its queue is a number of rows, 1 or more, not {rows:g}")
        self.queue = int(rows)
        if self.queue:
            for name in PAST:  # the first batch says how wide they are
                self.register_buffer(name, torch.zeros(0))

    def forward(self, faces: Faces) -> Taught:
        """The losses of the rows that have a face."""
        s, t = self._sides(faces)
        if len(s) < self.needed:
            # An empty D sums to an exact 0 whose graph still holds the projector, as DDP requires.
            nothing = s[:0].sum(dim=1)
            return Taught(nothing, *(nothing.detach().sum() for _ in range(3)))
        d = self._discrepancies(s, t, self._labels(faces.labels))
        mask = self._mask(d)
        margined: Margined = self.margin(d, mask)
        return Taught(_over_pairs(margined.value, mask), margined.before, margined.active, margined.mu)

    @property
    def needed(self) -> int:
        """Least rows that the method can say something about; fewer give an exact 0 and teach nothing."""
        return 2 if self.method.level in PAIRED and not self.queue else 1

    def extra_repr(self) -> str:
        return f"{self.weight:g} · {self.method.name}"

    def _sides(self, faces: Faces) -> tuple[Tensor, Tensor]:
        """What the method compares, as its level wants it."""
        level = self.method.level
        student = faces.projected if self.method.needs_projector else faces.embedding
        if student is None:
            raise ObjectiveError(f"method {self.method.name!r} needs the student projected to the teacher's dimension")
        if self.centres is None:
            return student, faces.teacher
        to_centres = self.teacher_scale * F.normalize(self.centres.to(student), dim=1).T
        teacher = F.normalize(faces.teacher, dim=1) @ to_centres
        if level != "logit":
            return F.normalize(student, dim=1) @ to_centres, teacher
        return faces.logits if self.classes is None else faces.logits[:, self.classes], teacher

    def _labels(self, labels: Tensor) -> Tensor:
        """The labels [F] as columns of the logits."""
        return labels if self.classes is None else torch.searchsorted(self.classes, labels)

    def _discrepancies(self, s: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """D, [F] or [F, P]."""
        given: dict[str, Any] = {name: tensor.to(s) for name, tensor in self.learned.items()}
        if self.queue:
            if not len(self.past_labels):
                self.past_student, self.past_teacher, self.past_labels = s[:0].detach(), t[:0].detach(), labels[:0]
            given["past"] = Past(self.past_student.to(s), self.past_teacher.to(t), self.past_labels)
        d = self.method.function(s, t, labels, **self.options, **given)
        if d.dim() not in (1, 2) or len(d) != len(s):
            wanted = f"[{len(s)}] or [{len(s)}, P]"
            raise ObjectiveError(f"method {self.method.name!r} must return a tensor {wanted}, not {list(d.shape)}")
        if self.queue and self.training:
            self._remember(s.detach(), t.detach(), labels)
        return d

    def _remember(self, s: Tensor, t: Tensor, labels: Tensor) -> None:
        # New tensors, not writes into the old ones: the graph of this step still needs those.
        self.past_student = torch.cat([s, self.past_student.to(s)])[: self.queue]
        self.past_teacher = torch.cat([t, self.past_teacher.to(t)])[: self.queue]
        self.past_labels = torch.cat([labels, self.past_labels])[: self.queue]

    def _mask(self, d: Tensor) -> Tensor | None:
        """The pairs that count; None for all of them."""
        if self.method.level != "relation" or self.method.self_pairs or d.shape != (len(d), len(d)):
            return None
        # A row's relation to itself is always 0: it would pull the quantile and the active share down.
        return ~torch.eye(len(d), dtype=torch.bool, device=d.device)

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: object) -> None:
        if self.queue:  # as many rows as were remembered
            for name in PAST:
                saved = state_dict.get(prefix + name, getattr(self, name))
                setattr(self, name, torch.empty_like(saved, device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _known(method: Method, centres: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The centres [K, dt] of the speakers that have a face, and their labels [K]; no labels if all have one."""
    if centres is None:
        raise ObjectiveError(f"method {method.name!r} needs the teacher's class centres [C, dt]")
    classes = centres.any(dim=1).nonzero().flatten()
    if len(classes) < 2:
        raise ObjectiveError(
            f"method {method.name!r} tells speakers apart by their faces, and {len(classes)} of the {len(centres)} "
            "training speakers has one: it needs two at least; choose a method of another level (`vgsr methods`)"
        )
    return (centres, None) if len(classes) == len(centres) else (centres[classes], classes)


def _over_pairs(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the pairs that count: [F] or [F, P] -> [F]."""
    if values.dim() == 1:
        return values
    return values.mean(dim=1) if mask is None else values.sum(dim=1) / mask.sum(dim=1)
