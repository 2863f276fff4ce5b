"""The losses of the classifier: logits [B, N] and labels [B] in, the loss of each utterance [B] out, margin included.

Each is written plainly, as a function of some rows; `by_rows` runs it over a batch without the copies of [B, N] that
autograd would keep.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Numbers of a piece of the logits: 8 MiB in float32, small beside a batch of 512 over 54,000 classes (106 MiB).
PIECE = 1 << 21

RowLoss = Callable[[Tensor, Tensor, Tensor], Tensor]  # logits [R, N], labels [R], bias [R] -> losses [R]


def with_margin(cosine: Tensor, margin: float) -> Tensor:
    """cos(θ + margin) for cosines of the right class (ArcFace: Deng et al., CVPR 2019, equation 3).

    Where θ + margin passes π the cosine would rise again; there it goes on falling as cos θ − margin ·
    sin(margin), the fallback of the authors' code. Margin in radians, 0 to π.
    """
    sine = (1.0 - cosine.square()).clamp(min=1e-12).sqrt()
    inside = cosine * math.cos(margin) - sine * math.sin(margin)
    beyond = cosine - margin * math.sin(margin)
    return torch.where(cosine > -math.cos(margin), inside, beyond)


def with_penalty(cosine: Tensor, penalty: float) -> Tensor:
    """cos(θ − penalty) for cosines of wrong classes, radians: they look nearer than they are, and are pushed further.

    The mirror image of `with_margin`, its fallback for θ < penalty included (our definition: there cos(θ − penalty)
    would fall again, and reward a wrong class that comes nearer).
    """
    return -with_margin(-cosine, penalty)


def softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, without any margin."""
    return F.cross_entropy(logits, labels, reduction="none")


def am(logits: Tensor, labels: Tensor, *, scale: float, margin: float) -> Tensor:
    """AM-softmax (CosFace: Wang et al., CVPR 2018, equation 4): cos θ − margin for the right class."""
    rows = labels.unsqueeze(1)
    return softmax(logits.scatter(1, rows, logits.gather(1, rows) - scale * margin), labels)


def aam(logits: Tensor, labels: Tensor, *, scale: float, margin: float, top_k: int = 0, penalty: float = 0.0) -> Tensor:
    """AAM-softmax (ArcFace, equation 3), with the inter-top-k penalty for the `top_k` nearest wrong classes
    (Zhao et al., ICASSP 2022, arXiv 2110.05042). Margin and penalty in radians.
    """
    # Margin and penalty touch 1 + top_k columns a row, so they are computed for these alone.
    rows = labels.unsqueeze(1)
    changed = logits.scatter(1, rows, scale * with_margin(logits.gather(1, rows) / scale, margin))
    if top_k:
        nearest = logits.detach().scatter(1, rows, -math.inf).topk(top_k, dim=1).indices
        changed = changed.scatter(1, nearest, scale * with_penalty(logits.gather(1, nearest) / scale, penalty))
    return softmax(changed, labels)


def sphereface2(
    logits: Tensor,
    labels: Tensor,
    bias: Tensor,
    *,
    scale: float,
    margin: float,
    angular: bool,
    positive_weight: float,
    exponent: int,
) -> Tensor:
    """SphereFace2 (Wen et al., ICLR 2022, arXiv 2108.01513): each class is a yes-or-no question of its own.

    λ · log(1 + exp(−s · (g(cos θ_y) − m) − b)) + (1 − λ) · Σ_{j≠y} log(1 + exp(s · (g(cos θ_j) + m) + b)) with
    g(z) = 2 · ((z + 1) / 2)^t − 1: the margin of type C. Type A (`angular`) puts it on the angle: g(cos(θ_y + m)) and
    g(cos(θ_j − m)). λ is `positive_weight`, t `exponent`, s `scale`, b `bias` [R]. The paper divides by s; speaker
    recognition (Han et al., ICASSP 2023, and WeSpeaker) does not, and nor does this.
    """
    rows = labels.unsqueeze(1)
    cosine, shift = logits / scale, margin
    right, wrong = cosine.gather(1, rows).squeeze(1), cosine
    if angular:
        right, wrong, shift = with_margin(right, margin), with_penalty(wrong, margin), 0.0
    accept = F.softplus(-scale * (_spread(right, exponent) - shift) - bias)
    reject = F.softplus(scale * (_spread(wrong, exponent) + shift) + bias.unsqueeze(1))
    # Left out by a zero, not subtracted: the right class alone may outweigh all others by more than float32 can hold.
    return positive_weight * accept + (1.0 - positive_weight) * reject.scatter(1, rows, 0.0).sum(dim=1)


def _spread(cosine: Tensor, exponent: int) -> Tensor:
    """g: cosines of −1…1 to −1…1, most of them near −1. Rising below −1 too, where a fallback may lie, for even t."""
    half = (cosine + 1.0) / 2.0
    return 2.0 * half * half.abs().pow(exponent - 1) - 1.0


def by_rows(loss: RowLoss, logits: Tensor, labels: Tensor, bias: Tensor) -> Tensor:
    """`loss` of all rows, [B]; logits [B, N], labels int64 [B], bias of one number.

    A few rows are taken at a time, and their gradient at once: what a loss makes of [B, N] on its way is never there
    as a whole, and all that is kept until the backward pass is the gradient itself. Once differentiable.
    """
    losses: Tensor = _ByRows.apply(loss, logits, labels, bias)
    return losses


class _ByRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: RowLoss, logits: Tensor, labels: Tensor, bias: Tensor) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        losses = logits.new_empty(len(logits))
        slopes = torch.empty_like(logits) if wanted else None
        bias_slopes = torch.empty_like(losses) if wanted else None
        size = max(1, PIECE // logits.shape[1])
        for at in range(0, len(logits), size):
            piece = slice(at, at + size)
            own = logits[piece].detach().requires_grad_(wanted)
            own_bias = bias.detach().expand(len(own)).requires_grad_(wanted)  # one a row: each row has its own slope
            with torch.set_grad_enabled(wanted):
                found = loss(own, labels[piece], own_bias)
            losses[piece] = found.detach()
            if slopes is not None and bias_slopes is not None:
                slopes[piece], bias_slopes[piece] = torch.autograd.grad(
                    found, (own, own_bias), torch.ones_like(found), allow_unused=True, materialize_grads=True
                )
        ctx.save_for_backward(slopes, bias_slopes)
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None, Tensor]:
        slopes, bias_slopes = ctx.saved_tensors
        return None, slopes * gradient.unsqueeze(1), None, (bias_slopes @ gradient).reshape(1)
