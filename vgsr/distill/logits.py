"""Methods that compare what student and teacher say about who is speaking, over all training speakers.

In: student logits `[B, C]`, teacher logits `[B, C]`. Out: discrepancies `[B]`, in nats.
"""

import torch.nn.functional as F
from torch import Tensor

from vgsr.distill.methods import method


@method(
    "kd",
    level="logit",
    unit="nats times temperature²",
    paper="Hinton et al., 'Distilling the knowledge in a neural network', arXiv 1503.02531, 2015",
    weight=0.1,
    margin_range=(0.0, 20.0),
)
def kd(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4.0) -> Tensor:
    """temperature² · KL(teacher || student) of the softened posteriors `[B]`.

    Its mean is `F.kl_div(..., reduction="batchmean") * temperature²`, the usual scalar.
    """
    return temperature**2 * _divergence(student / temperature, teacher / temperature)


@method(
    "centres",
    level="classifier",
    unit="nats",
    paper="our definition of the classifier-level soft constraint of Zhao et al., arXiv 2507.16296, 2025",
    weight=1.0,
    margin_range=(0.0, 4.0),
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
