"""Methods that pull a student row to the faces of its own person and away from everybody else's in the batch.

In: projected student `[B, dt]`, teacher `[B, dt]`, labels `[B]`. Out: discrepancies `[B]`, in nats.
"""

import torch.nn.functional as F
from torch import Tensor

from vgsr.distill.methods import method


@method(
    "infonce",
    level="contrastive",
    unit="nats, 0 upward (about log B by chance)",
    paper="van den Oord et al., arXiv 1807.03748, 2018; several positives: MIL-NCE, Miech et al., CVPR 2020",
    weight=1.0,
    margin_range=(0.0, 4.0),
)
def infonce(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 0.07) -> Tensor:
    """-log( sum over faces of the same person / sum over all faces ) of exp(cos / temperature), `[B]`.

    The candidates are the teacher rows of the batch; a row's own face is always among its positives.
    """
    logits = F.normalize(student, dim=-1) @ F.normalize(teacher, dim=-1).T / temperature
    positives = logits.masked_fill(labels[:, None] != labels[None, :], float("-inf"))
    return logits.logsumexp(dim=1) - positives.logsumexp(dim=1)
