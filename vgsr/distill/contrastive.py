"""Methods that pull a student row to the faces of its own person and away from everybody else's in the batch.

In: projected student `[B, dt]`, teacher `[B, dt]`, labels `[B]`. Out: discrepancies `[B]`, in nats.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vgsr.distill.methods import Past, method


@method(
    "infonce",
    level="contrastive",
    unit="nats, 0 upward (about log B by chance)",
    paper="van den Oord et al., arXiv 1807.03748, 2018; several positives: MIL-NCE, Miech et al., CVPR 2020",
    weight=1.0,
    margin_range=(0.0, 5.0),
)
def infonce(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 0.07) -> Tensor:
    """-log( sum over faces of the same person / sum over all faces ) of exp(cos / temperature), `[B]`.

    The candidates are the teacher rows of the batch; a row's own face is always among its positives.
    """
    logits = F.normalize(student, dim=-1) @ F.normalize(teacher, dim=-1).T / temperature
    positives = logits.masked_fill(labels[:, None] != labels[None, :], float("-inf"))
    return logits.logsumexp(dim=1) - positives.logsumexp(dim=1)


@method(
    "crd",
    level="contrastive",
    unit="nats of both sides, about 2 log K + 2 by chance among K others",
    paper="Tian et al., 'Contrastive representation distillation', ICLR 2020, eq. 17 to 19, in-batch with a queue",
    weight=0.8,
    margin_range=(0.0, 18.0),
    queue=1024,
)
def crd(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 0.07, *, past: Past) -> Tensor:
    """Telling a row's own partner from other people's, by a critic of the cosine, `[B]`.

    Two sides are added, as in the authors' code: the student's row among teacher rows, and the teacher's row
    among student rows. Candidates are the batch and the past; other rows of the same person are left out. A
    row without anybody else to be told from is 0.
    """
    same = labels[:, None] == torch.cat([labels, past.labels])[None, :]
    s, t = F.normalize(student, dim=-1), F.normalize(teacher, dim=-1)
    among_teachers = s @ torch.cat([t, F.normalize(past.teacher, dim=-1)]).T / temperature
    among_students = t @ torch.cat([s, F.normalize(past.student, dim=-1)]).T / temperature
    return _surprise(among_teachers, same) + _surprise(among_students, same)


def _surprise(scores: Tensor, same: Tensor) -> Tensor:
    """-log h(partner) - sum over the K others of log(1 - h), `[B]`, from scores `[B, B + Q]`; partner i of row i.

    h = e / (e + K·ē) with e = exp(score) and ē the mean of e over all rows' partners and others. The authors
    take ē (their Z over the size of the data set, which cancels) from the first batch and keep it. Here it is
    that of the batch at hand and the gradient flows through it, so that the function is pure; it then tells
    scores only relative to one another, and perfect agreement is no longer 0 but about log 2 a side.
    """
    others = ~same
    counted = others.clone()
    counted.fill_diagonal_(True)
    mean = scores.masked_fill(~counted, float("-inf")).flatten().logsumexp(dim=0) - counted.sum().to(scores).log()
    known = others.sum(dim=1).to(scores)
    noise = (mean + known.clamp_min(1).log())[:, None]  # log K·ē, so that h = sigmoid(score - noise)
    partner = F.logsigmoid((scores - noise).diagonal())
    rejected = F.logsigmoid(noise - scores).masked_fill(same, 0).sum(dim=1)
    return (-partner - rejected).masked_fill(known == 0, 0)
