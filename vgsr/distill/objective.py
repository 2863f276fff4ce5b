"""The loss of a batch: classification, and a face teacher behind a margin, both weighed by quality.

    loss = classification(w) + λ · mean_i( w_i · mean_j( margin( D(student, teacher)_ij ) ) )

In: what student, heads and teacher bank say about the *global* batch. Out: the loss, its parts, what to log.
"""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgsr.distill import quality
from vgsr.distill.margin import Margin, Margined
from vgsr.distill.methods import Method, check_options

APPLY_TO = ("distillation", "classification", "both")


class ObjectiveError(Exception):
    """Settings that do not fit together, or a batch that lacks what the method needs."""


@dataclass(frozen=True)
class Terms:
    """The loss of a batch and its parts, all scalars. The last four are detached, for logging."""

    loss: Tensor
    classification: Tensor  # weighed by quality where that applies
    distillation: Tensor  # before λ; an exact 0 if too few rows have a face
    discrepancy: Tensor  # mean of D before margin and weights; 0 without distillation
    active: Tensor  # share of D outside the margin; 1 without a margin, 0 without distillation
    mu: Tensor  # the margin in the method's unit; 0 without one
    weight_spread: Tensor  # std of the quality weights over the rows that they weigh ("both": all rows)


class Objective(nn.Module):
    """Any method × any margin × any weighting.

    `method` None is classification only; `margin` None leaves D as it is; without `statistics` rows weigh 1.
    `centres` [C, dt] are the teacher's, one a training speaker in the order of the labels; they follow from
    the teacher bank and are not in the state_dict. Quality statistics and the margin's quantile are.
    """

    centres: Tensor | None
    quality_mean: Tensor | None
    quality_std: Tensor | None

    def __init__(
        self,
        *,
        method: Method | None,
        options: dict[str, float] | None = None,
        weight: float = 1.0,
        margin: Margin | None = None,
        apply_to: str = "distillation",
        statistics: quality.Statistics | None = None,
        temperature: float = 1.0,
        floor: float = 0.1,
        combine: str = "product",
        centres: Tensor | None = None,
        teacher_scale: float = 32.0,
    ) -> None:
        super().__init__()
        quality.check_settings(temperature, floor, combine)
        if apply_to not in APPLY_TO:
            raise ObjectiveError(f"quality apply_to must be one of {', '.join(APPLY_TO)}, not {apply_to!r}")
        if method is not None:
            check_options(method, options or {})
            if method.needs_centres and centres is None:
                raise ObjectiveError(f"method {method.name!r} needs the teacher's class centres [C, dt]")
        self.method, self.options, self.weight, self.margin = method, dict(options or {}), weight, margin
        self.apply_to, self.teacher_scale = apply_to, teacher_scale
        self.weigh = partial(quality.weights, temperature=temperature, floor=floor, combine=combine)
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("quality_mean", None if statistics is None else statistics.mean)
        self.register_buffer("quality_std", None if statistics is None else statistics.std)

    def forward(
        self,
        *,
        class_losses: Tensor,
        embedding: Tensor,
        projected: Tensor | None,
        logits: Tensor,
        teacher: Tensor,
        has_face: Tensor,
        labels: Tensor,
        signals: Tensor,
    ) -> Terms:
        """class_losses [B], embedding [B, d], projected [B, dt] or None, logits [B, C], teacher [B, dt],
        has_face [B] bool, labels [B], signals [B, S] -> Terms. Half precision is computed in float32.

        Rows without a face take part in classification only; their teacher rows may hold anything, even NaN.
        """
        # Autocast would round the matrix products in here to bf16, and discrepancies are small differences.
        with torch.autocast(embedding.device.type, enabled=False):
            losses, rows = _wide(class_losses), self._distilled(has_face)
            w_class, w = self._weights(signals.to(losses), has_face, rows)
            d = self._discrepancies(embedding, projected, logits, teacher, labels, rows)
            margined = self._margined(d)
            classification = (w_class * losses).mean()
            distillation = _mean(w * _over_pairs(margined.value))
            spread = _mean(((w if self.apply_to == "distillation" else w_class) - 1).square()).sqrt()
            return Terms(
                loss=classification + self.weight * distillation,
                classification=classification,
                distillation=distillation,
                discrepancy=_mean(d.detach()),
                active=margined.active,
                mu=margined.mu,
                weight_spread=spread,
            )

    def _distilled(self, has_face: Tensor) -> Tensor:
        """Positions [F] of the distilled rows: those with a face, or none if they are too few to compare."""
        rows = has_face.nonzero().flatten()
        needed = 2 if self.method is not None and self.method.level == "relation" else 1
        return rows if self.method is not None and len(rows) >= needed else rows[:0]

    def _weights(self, signals: Tensor, has_face: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Quality weights of classification [B] and of the distilled rows [F], each of mean 1."""
        w_class, w = signals.new_ones(len(signals)), signals.new_ones(len(rows))
        if self.quality_mean is not None and self.quality_std is not None:
            known = quality.Statistics(self.quality_mean.to(signals), self.quality_std.to(signals))
            if self.apply_to != "distillation":
                w_class = self.weigh(signals, known)
            if self.apply_to != "classification":
                w = self.weigh(signals, known, mask=has_face)[rows]
        return w_class, w

    def _discrepancies(
        self,
        embedding: Tensor,
        projected: Tensor | None,
        logits: Tensor,
        teacher: Tensor,
        labels: Tensor,
        rows: Tensor,
    ) -> Tensor:
        """D of the distilled rows, [F] or [F, P]."""
        if self.method is None:
            return _wide(embedding)[rows].sum(dim=1)
        level, name = self.method.level, self.method.name
        source = projected if self.method.needs_projector else logits if level == "logit" else embedding
        if source is None:
            raise ObjectiveError(f"method {name!r} needs the student projected to the teacher's dimension")
        s = _wide(source)[rows]
        t = teacher[rows].to(s)
        if len(s) == 0:
            # An empty D sums to an exact 0 whose graph still holds the projector, as DDP requires.
            return s.sum(dim=1)
        if self.centres is not None and self.method.needs_centres:
            to_centres = self.teacher_scale * F.normalize(self.centres.to(s), dim=1).T
            t = F.normalize(t, dim=1) @ to_centres
            s = F.normalize(s, dim=1) @ to_centres if level == "classifier" else s
        d = self.method.function(s, t, labels[rows], **self.options)
        if d.dim() not in (1, 2) or len(d) != len(s):
            wanted = f"[{len(s)}] or [{len(s)}, P]"
            raise ObjectiveError(f"method {name!r} must return a tensor {wanted}, not {list(d.shape)}")
        return d

    def _margined(self, d: Tensor) -> Margined:
        if self.margin is None:
            return Margined(d, active=d.new_tensor(float(len(d) > 0)), mu=d.new_zeros(()))
        if self.method is not None and self.method.level == "relation" and d.shape == (len(d), len(d)):
            # A row's relation to itself is always 0: it would pull the quantile and the active share down.
            return self.margin(d, ~torch.eye(len(d), dtype=torch.bool, device=d.device))
        return self.margin(d)


def _wide(tensor: Tensor) -> Tensor:
    """At least float32; float64 stays."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _over_pairs(tensor: Tensor) -> Tensor:
    """[F] or [F, P] -> [F]."""
    return tensor if tensor.dim() == 1 else tensor.mean(dim=1)


def _mean(tensor: Tensor) -> Tensor:
    """Mean over all elements; 0 of none."""
    return tensor.sum() / max(tensor.numel(), 1)
