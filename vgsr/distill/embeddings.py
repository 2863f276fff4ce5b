"""Methods that compare one student embedding with the teacher embedding of the same row.

In: projected student `[B, dt]`, teacher `[B, dt]`. Out: discrepancies `[B]`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vgsr.distill.methods import method

VARIANCE_FLOOR = 1e-3  # of `vid`, in units of 1/dt: the mean power of a dimension of a vector of unit length


@method(
    "cosine",
    level="embedding",
    unit="1 - cos, 0..2",
    paper="our definition (the usual cosine embedding loss, un-reduced)",
    weight=10.0,
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
    weight=10.0,
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
    weight=30.0,
    margin_range=(0.0, 0.01),
)
def l2(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Mean over dimensions of the squared difference `[B]`; its mean over the batch is `F.mse_loss`.

    The vectors are compared raw, neither is normalised: two orthogonal ones of norm n differ by 2n²/dt.
    Defaults are for teachers of unit length and 64 to 512 dimensions, which is what training hands over.
    """
    return (student - teacher).square().mean(dim=-1)


@method(
    "l1",
    level="embedding",
    unit="absolute difference a dimension, in the teacher's own scale",
    paper="our definition (the usual L1 loss, un-reduced)",
    weight=30.0,
    margin_range=(0.0, 0.1),
)
def l1(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Mean over dimensions of the absolute difference `[B]`; its mean over the batch is `F.l1_loss`.

    Raw vectors and defaults as for `l2`; a few dimensions that differ much count less than there.
    """
    return (student - teacher).abs().mean(dim=-1)


@method(
    "vid",
    level="embedding",
    unit="nats a dimension above the least",
    paper="Ahn et al., 'Variational information distillation for knowledge transfer', CVPR 2019, eq. 5 and 6",
    weight=1.0,
    margin_range=(0.0, 4.5),
    learned={"log_variance": torch.zeros},
)
def vid(student: Tensor, teacher: Tensor, labels: Tensor, *, log_variance: Tensor) -> Tensor:
    """Negative log-likelihood of the teacher under a Gaussian around the student, above its least, `[B]`.

        mean over d of ½ ( (student_d - teacher_d)² / v_d + log(v_d / v_min) )

    One variance a dimension is learned: v = exp(log_variance) / dt + v_min. It starts near 1/dt, the power of
    one dimension of a teacher of unit length, and stays above v_min = 0.001/dt. Without a floor agreement
    would be worth minus infinity, and a margin needs a discrepancy that is 0 at best: here, for equal vectors
    and the least variance. The published scalar has log v: its mean is this one's plus the constant
    ½ log v_min, and the gradients are the same.
    """
    variance = log_variance.exp() + VARIANCE_FLOOR  # in units of 1/dt
    surprise = (student - teacher).square() * student.shape[-1] / variance
    return 0.5 * (surprise + (variance / VARIANCE_FLOOR).log()).mean(dim=-1)
