"""Embeddings [B, d] and labels [B] in; classification losses, logits and projection to the teacher out."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgsr.config import Classification
from vgsr.students import head_losses


class HeadOutput(NamedTuple):
    """What the heads say of a batch, all float32. A tuple, so that DDP finds the tensors in it.

    Logits never carry a margin. They are scale · cosine to the speaker's centre, with sub-centres to the nearest of
    them, and for SphereFace2 the same, before its g and its bias; for softmax they are W · embedding + b.
    """

    losses: Tensor  # [B] loss of each utterance, margin included
    logits: Tensor  # [B, speakers]
    projected: Tensor | None  # [B, teacher_dim], None without a teacher


def check(settings: Classification, speakers: int) -> None:
    """ValueError where so many training speakers are too few for the settings."""
    if settings.top_k >= speakers:
        raise ValueError(
            f"top_k is {settings.top_k}, but {speakers} training speakers are {speakers - 1} wrong classes for each"
        )


class Heads(nn.Module):
    """The classifier of training speakers, and with a `teacher_dim` the linear projector student -> teacher space.

    Only training uses them: the finished model is the student alone. `centres` [speakers · sub-centres, d] (a
    speaker's sub-centres lie together) is the weight matrix; `bias` is of softmax [speakers] and of SphereFace2 [1].
    """

    def __init__(self, embedding: int, speakers: int, settings: Classification, teacher_dim: int | None) -> None:
        super().__init__()
        check(settings, speakers)
        self.settings = settings
        self.centres = nn.Parameter(torch.empty(speakers * settings.sub_centres, embedding))
        # Normal, where peers draw uniformly with the same variance: directions without preference for the corners.
        nn.init.xavier_normal_(self.centres)
        self.bias = None
        if settings.loss in ("softmax", "sphereface2"):
            self.bias = nn.Parameter(torch.zeros(speakers if settings.loss == "softmax" else 1))
        self.projector = None if teacher_dim is None else nn.Linear(embedding, teacher_dim)

    def forward(self, embedding: Tensor, labels: Tensor, margin: float) -> HeadOutput:
        """[B, d], int64 [B] in 0…speakers−1, margin in the loss's unit (0 = none) -> HeadOutput."""
        with torch.autocast(embedding.device.type, enabled=False):
            embedding = embedding.float()
            logits = self._logits(embedding)
            single = self.settings.loss == "sphereface2"
            bias = self.bias if single and self.bias is not None else logits.new_zeros(1)
            losses = head_losses.by_rows(self._loss(margin), logits, labels, bias)
            projected = None if self.projector is None else self.projector(embedding)
        return HeadOutput(losses, logits, projected)

    def _logits(self, embedding: Tensor) -> Tensor:
        if self.settings.loss == "softmax":
            return F.linear(embedding, self.centres, self.bias)
        # The scale goes into [B, d], which is smaller than [B, speakers].
        logits = F.linear(self.settings.scale * F.normalize(embedding), F.normalize(self.centres))
        if self.settings.sub_centres == 1:
            return logits
        # Sub-centre ArcFace (Deng et al., ECCV 2020).
        return logits.unflatten(1, (-1, self.settings.sub_centres)).max(dim=2).values

    def _loss(self, margin: float) -> head_losses.RowLoss:
        settings = self.settings
        if settings.loss == "softmax":
            return lambda logits, labels, bias: head_losses.softmax(logits, labels)
        if settings.loss == "am":
            return lambda logits, labels, bias: head_losses.am(logits, labels, scale=settings.scale, margin=margin)
        if settings.loss == "aam":
            # The penalty follows the margin's schedule, and a later, larger margin does not enlarge it.
            share = min(margin / settings.margin, 1.0) if settings.margin else 1.0
            return lambda logits, labels, bias: head_losses.aam(
                logits,
                labels,
                scale=settings.scale,
                margin=margin,
                top_k=settings.top_k,
                penalty=settings.top_k_penalty * share,
            )
        return partial(
            head_losses.sphereface2,
            scale=settings.scale,
            margin=margin,
            angular=settings.margin_type == "angle",
            positive_weight=settings.positive_weight,
            exponent=settings.exponent,
        )
