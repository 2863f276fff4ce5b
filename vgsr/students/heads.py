"""Embeddings [B, d] and labels [B] in; classification losses, logits and projection to the teacher out."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class HeadOutput(NamedTuple):
    """What the heads say of a batch, all float32. A tuple, so that DDP finds the tensors in it."""

    losses: Tensor  # [B] cross-entropy of each utterance, margin included
    logits: Tensor  # [B, speakers] scale · cosine, without margin
    projected: Tensor | None  # [B, teacher_dim], None without a teacher


def with_margin(cosine: Tensor, margin: float) -> Tensor:
    """cos(θ + margin) for cosines [B] of the right class (ArcFace: Deng et al., CVPR 2019, equation 3).

    Where θ + margin passes π the cosine would rise again; there it goes on falling as cos θ − margin ·
    sin(margin), the fallback of the authors' code. Margin in radians, 0 to π.
    """
    sine = (1.0 - cosine.square()).clamp(min=1e-12).sqrt()
    inside = cosine * math.cos(margin) - sine * math.sin(margin)
    beyond = cosine - margin * math.sin(margin)
    return torch.where(cosine > -math.cos(margin), inside, beyond)


class Heads(nn.Module):
    """AAM-softmax classifier, and with a `teacher_dim` the linear projector student -> teacher space.

    Only training uses them: the finished model is the student alone.
    """

    def __init__(self, embedding: int, speakers: int, scale: float, teacher_dim: int | None) -> None:
        super().__init__()
        self.scale = scale
        self.centres = nn.Parameter(torch.empty(speakers, embedding))
        nn.init.xavier_normal_(self.centres)
        self.projector = None if teacher_dim is None else nn.Linear(embedding, teacher_dim)

    def forward(self, embedding: Tensor, labels: Tensor, margin: float) -> HeadOutput:
        """[B, d], int64 [B] in 0…speakers−1, margin in radians (0 = plain scaled softmax) -> HeadOutput."""
        with torch.autocast(embedding.device.type, enabled=False):
            embedding = embedding.float()
            cosine = F.linear(F.normalize(embedding), F.normalize(self.centres)).clamp(-1.0, 1.0)
            logits = self.scale * cosine
            # The margin touches one column a row, so it is computed for [B] instead of [B, speakers].
            rows = labels.unsqueeze(1)
            target = self.scale * with_margin(cosine.gather(1, rows).squeeze(1), margin)
            losses = F.cross_entropy(logits.scatter(1, rows, target.unsqueeze(1)), labels, reduction="none")
            projected = None if self.projector is None else self.projector(embedding)
        return HeadOutput(losses, logits, projected)
