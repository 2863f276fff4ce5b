"""Methods that compare one student embedding with the teacher embedding of the same row.

In: projected student `[B, dt]`, teacher `[B, dt]`. Out: discrepancies `[B]`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vgsr.distill.methods import method


@method(
    "cosine",
    level="embedding",
    unit="1 - cos, 0..2",
    paper="our definition (the usual cosine embedding loss, un-reduced)",
    weight=1.0,
    margin_range=(0.0, 1.0),
)
def cosine(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """1 - cos(student, teacher) `[B]`. Its mean is `F.cosine_embedding_loss` with target 1."""
    return 1 - F.cosine_similarity(student, teacher, dim=-1)


@method(
    "angle",
    level="embedding",
    unit="radians, 0..pi",
    paper="our definition; computed after Kahan, 'How futile are mindless assessments of roundoff', 2006",
    weight=1.0,
    margin_range=(0.0, 1.5),
)
def angle(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Angle between student and teacher in radians `[B]`: 2 atan2(|a - b|, |a + b|) of unit vectors a, b.

    acos(cos) loses half its digits near 0 and has an infinite gradient there; this form keeps all digits, and
    its gradient at 0 and at pi, where none exists, is 0.
    """
    a, b = F.normalize(student, dim=-1), F.normalize(teacher, dim=-1)
    return 2 * torch.atan2(torch.linalg.vector_norm(a - b, dim=-1), torch.linalg.vector_norm(a + b, dim=-1))


@method(
    "l2",
    level="embedding",
    unit="squared difference a dimension, in the teacher's own scale",
    paper="Romero et al., 'FitNets: Hints for thin deep nets', ICLR 2015, eq. 3 (on embeddings)",
    weight=100.0,
    margin_range=(0.0, 0.03),
)
def l2(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Mean over dimensions of the squared difference `[B]`; its mean over the batch is `F.mse_loss`.

    The vectors are compared raw, neither is normalised: two orthogonal ones of norm n differ by 2n²/dt.
    Defaults are for teachers of unit length and 64 to 512 dimensions, which is what training hands over.
    """
    return (student - teacher).square().mean(dim=-1)
