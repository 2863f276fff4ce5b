"""The loss of a batch: classification, and a face teacher behind a margin, both weighed by quality.

    loss = classification(w) + Σ_k λ_k · mean_i( w_i · mean_j( margin_k( D_k(student, teacher)_ij ) ) )

In: what student, heads and teacher bank say about the *global* batch. Out: the loss, its parts, what to log.
Mostly there is one distillation k; several may be combined.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from vgsr.distill import quality
from vgsr.distill.distillation import Distillation, Faces, ObjectiveError, Taught
from vgsr.distill.running import Running

APPLY_TO = ("distillation", "classification", "both")
OF_TAUGHT = ("discrepancy", "active", "mu")  # figures of the rows that a method acted on; 0 where it acted on none


def figure_names(figure: str, methods: Sequence[str]) -> list[str]:
    """What a figure is called in logs for each of `methods`: `active`, and of several methods `active_METHOD`."""
    return [figure] if len(methods) == 1 else [f"{figure}_{method}" for method in methods]


@dataclass(frozen=True)
class Terms:
    """The loss of a batch and its parts, all scalars."""

    loss: Tensor
    classification: Tensor  # weighed by quality where that applies
    distillation: Tensor  # with λ; an exact 0 if too few rows have a face
    weight_spread: Tensor  # detached: std of the quality weights over the rows that they weigh ("both": all rows)
    taught: dict[str, Taught]  # by method
    rows: int  # of the batch, with a face or without

    def figures(self) -> dict[str, Tensor]:
        """What to log, detached: the parts, and by `figure_names` each method's `OF_TAUGHT` and its share, `taught`.

        The share is that of the batch's rows which the method acted on: those with a face, unless they are too few.
        """
        figures = {name: getattr(self, name) for name in ("loss", "classification", "distillation", "weight_spread")}
        for figure in OF_TAUGHT:
            values = [getattr(taught, figure) for taught in self.taught.values()]
            figures |= zip(figure_names(figure, list(self.taught)), values, strict=True)
        shares = [self.loss.new_tensor(len(taught.losses) / max(self.rows, 1)) for taught in self.taught.values()]
        figures |= zip(figure_names("taught", list(self.taught)), shares, strict=True)
        return {name: value.detach() for name, value in figures.items()}


class Objective(nn.Module):
    """Any methods × any margins × any weighting.

    No distillations: classification only. `statistics` are those of the columns of `signals` over the training set;
    with `student_norm` the length of the student's embedding is one more signal, standardised by its own running
    statistics. Without both, every row weighs 1.
    """

    quality_mean: Tensor | None
    quality_std: Tensor | None

    def __init__(
        self,
        distillations: Sequence[Distillation],
        *,
        apply_to: str = "distillation",
        statistics: quality.Statistics | None = None,
        student_norm: bool = False,
        temperature: float = 1.0,
        floor: float = 0.1,
        combine: str = "product",
    ) -> None:
        super().__init__()
        quality.check_settings(temperature, floor, combine)
        if apply_to not in APPLY_TO:
            raise ObjectiveError(f"quality apply_to must be one of {', '.join(APPLY_TO)}, not {apply_to!r}")
        names = [one.method.name for one in distillations]
        if len(set(names)) < len(names):
            raise ObjectiveError(f"every method can be combined once only: {', '.join(names)}")
        self.distillations = cast(Sequence[Distillation], nn.ModuleList(distillations))
        self.apply_to = apply_to
        self.weigh = partial(quality.weights, temperature=temperature, floor=floor, combine=combine)
        self.register_buffer("quality_mean", None if statistics is None else statistics.mean)
        self.register_buffer("quality_std", None if statistics is None else statistics.std)
        self.norms = nn.ModuleDict({"mean": Running(), "square": Running()}) if student_norm else None

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
            losses, rows = _wide(class_losses), has_face.nonzero().flatten()
            w_class, w = self._weights(signals.to(losses), _wide(embedding), rows)
            faces = Faces(
                embedding=_wide(embedding)[rows],
                projected=None if projected is None else _wide(projected)[rows],
                logits=_wide(logits)[rows],
                teacher=teacher[rows].to(_wide(embedding)),
                labels=labels[rows],
            )
            taught = {one.method.name: one(faces) for one in self.distillations}
            classification = _mean(w_class * losses)
            distillation = classification.new_zeros(())
            for one in self.distillations:
                of_rows = taught[one.method.name].losses
                distillation = distillation + one.weight * _mean(w[: len(of_rows)] * of_rows)
            weighed = w if self.apply_to == "distillation" else w_class
            return Terms(
                loss=classification + distillation,
                classification=classification,
                distillation=distillation,
                weight_spread=_mean((weighed - 1).square()).sqrt(),
                taught=taught,
                rows=len(losses),
            )

    def _weights(self, signals: Tensor, embedding: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Quality weights of classification [B] and of the rows with a face [F], each of mean 1."""
        w_class, w = signals.new_ones(len(signals)), signals.new_ones(len(rows))
        signals, known = self._standard(signals, embedding)
        if known is not None:
            if self.apply_to != "distillation":
                w_class = self.weigh(signals, known)
            if self.apply_to != "classification":
                w = self.weigh(signals[rows], known)
        return w_class, w

    def _standard(self, signals: Tensor, embedding: Tensor) -> tuple[Tensor, quality.Statistics | None]:
        """The signals [B, S] with their statistics, the student's norm among them if it is one."""
        known = None
        if self.quality_mean is not None and self.quality_std is not None:
            known = quality.Statistics(self.quality_mean.to(signals), self.quality_std.to(signals))
        if self.norms is None:
            return signals, known
        norm = torch.linalg.vector_norm(embedding.detach(), dim=1).to(signals)
        mean, square = self.norms["mean"](norm.mean()), self.norms["square"](norm.square().mean())
        own = quality.Statistics(mean[None], (square - mean.square()).clamp_min(0).sqrt()[None])
        if known is None:
            return norm[:, None], own
        both = quality.Statistics(torch.cat([known.mean, own.mean]), torch.cat([known.std, own.std]))
        return torch.cat([signals, norm[:, None]], dim=1), both


def _wide(tensor: Tensor) -> Tensor:
    """At least float32; float64 stays."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _mean(tensor: Tensor) -> Tensor:
    """Mean over all elements; 0 of none."""
    return tensor.sum() / max(tensor.numel(), 1)
