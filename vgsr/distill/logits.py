"""Methods that compare what student and teacher say about who is speaking, over all training speakers.

In: student logits `[B, C]`, teacher logits `[B, C]`. Out: discrepancies `[B]`, in nats.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vgsr.distill.methods import method


@method(
    "kd",
    level="logit",
    unit="nats times temperature²",
    paper="Hinton et al., 'Distilling the knowledge in a neural network', arXiv 1503.02531, 2015",
    weight=0.1,
    margin_range=(0.0, 60.0),
)
def kd(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4.0) -> Tensor:
    """temperature² · KL(teacher || student) of the softened posteriors `[B]`.

    Its mean is `F.kl_div(..., reduction="batchmean") * temperature²`, the usual scalar.
    """
    return temperature**2 * _divergence(student / temperature, teacher / temperature)


@method(
    "dkd",
    level="logit",
    unit="nats times temperature², those among other speakers beta times",
    paper="Zhao et al., 'Decoupled knowledge distillation', CVPR 2022, eq. 7",
    weight=0.1,
    margin_range=(0.0, 100.0),
)
def dkd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float = 4.0,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """temperature² · (alpha · TCKD + beta · NCKD) `[B]`; its mean is the scalar of the authors' code.

    TCKD is the divergence of "is it the right speaker", NCKD that of the posteriors among the others.
    """
    (own_s, others_s), (own_t, others_t) = (_apart(logits / temperature, labels) for logits in (student, teacher))
    return temperature**2 * (alpha * _divergence(own_s, own_t) + beta * _divergence(others_s, others_t))


@method(
    "dist",
    level="logit",
    unit="1 - correlation of a row and of the columns, times temperature²",
    paper="Huang et al., 'Knowledge distillation from a stronger teacher', NeurIPS 2022 (inter- and intra-class)",
    weight=2.0,
    margin_range=(0.0, 2.0),
)
def dist(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
) -> Tensor:
    """temperature² · (beta · inter + gamma · intra) `[B]`; its mean is the scalar of the authors' code.

    Inter-class is 1 - Pearson correlation of a row's posteriors. Intra-class is 1 - correlation of a speaker's
    column, which is half the squared distance of the two standardised columns: a sum over rows, of which each
    row gets its own share, B · mean over speakers of ½ (difference)². So a row's margin and weight act inside
    the correlation.

    Posteriors that are all equal correlate with nothing and teach nothing: they standardise to zeros, without
    gradient. The discrepancy is 0 where both sides are such (a column of a batch of one row) and ½ where one
    is; the authors' code has 1 in both cases.
    """
    log_s, log_t = (student / temperature).log_softmax(dim=1), (teacher / temperature).log_softmax(dim=1)
    inter = 0.5 * (_standardised(log_s, dim=1) - _standardised(log_t, dim=1)).square().sum(dim=1)
    intra = 0.5 * (_standardised(log_s, dim=0) - _standardised(log_t, dim=0)).square().mean(dim=1)
    return temperature**2 * (beta * inter + gamma * len(student) * intra)


@method(
    "lskd",
    level="logit",
    unit="nats times temperature²",
    paper="Sun et al., 'Logit standardization in knowledge distillation', CVPR 2024 (Z-score)",
    weight=2.0,
    margin_range=(0.0, 3.0),
)
def lskd(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 2.0) -> Tensor:
    """`kd` of logits whose every row has mean 0 and deviation 1 `[B]`: it compares shapes, not confidence.

    The deviation is the unbiased one plus 1e-7, as in the authors' code.
    """
    return kd(_z_scores(student), _z_scores(teacher), labels, temperature)


@method(
    "centres",
    level="classifier",
    unit="nats",
    paper="our definition of the classifier-level soft constraint of Zhao et al., arXiv 2507.16296, 2025",
    weight=0.5,
    margin_range=(0.0, 8.0),
)
def centres(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """KL(teacher || student) of the posteriors over the teacher's frozen class centres `[B]`.

    Both logits are cosines to the same centres, so the student is asked to say about a voice what the teacher
    says about the face: who it is, and whom else it resembles. KL and not cross-entropy, because a margin
    needs a discrepancy that is 0 at agreement: cross-entropy exceeds KL by the entropy of the teacher's
    posterior, so the same margin would leave less freedom at a doubtful face than at a clear one. Their
    gradients are the same.
    """
    return _divergence(student, teacher)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(softmax(teacher) || softmax(student)) over the last dimension, in nats."""
    log_student, log_teacher = student.log_softmax(dim=-1), teacher.log_softmax(dim=-1)
    return F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=-1)


def _apart(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits `[B, 2]` of the labelled speaker against all others together, and those of the others `[B, C - 1]`."""
    rows, speakers = logits.shape
    own = labels[:, None] == torch.arange(speakers, device=labels.device)
    others = logits[~own].view(rows, speakers - 1)
    return torch.stack([logits[own], others.logsumexp(dim=1)], dim=1), others


def _standardised(log_posteriors: Tensor, dim: int) -> Tensor:
    """Posteriors minus their mean and divided by their length along `dim`; zeros, with gradient 0, if all are equal.

    A common factor or summand cancels, so they are taken as p / max - 1: a column of 1e-20 is no underflow,
    and equal posteriors are exactly 0 before their mean is.
    """
    relative = (log_posteriors - log_posteriors.detach().amax(dim, keepdim=True)).expm1()
    centred = relative - relative.mean(dim, keepdim=True)
    squares = centred.square().sum(dim, keepdim=True)
    return centred / squares.where(squares > 0, float("inf")).sqrt()


def _z_scores(logits: Tensor) -> Tensor:
    # By the norm and not by Tensor.std, whose gradient at equal logits is NaN.
    centred = logits - logits.mean(dim=1, keepdim=True)
    deviation = torch.linalg.vector_norm(centred, dim=1, keepdim=True) / (logits.shape[1] - 1) ** 0.5
    return centred / (deviation + 1e-7)
