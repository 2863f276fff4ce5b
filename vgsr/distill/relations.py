"""Methods that compare how the rows of a batch lie to one another, in the student's and the teacher's space.

In: student embedding `[B, d]`, teacher `[B, dt]` (d and dt may differ: no projector). Out: discrepancies
`[B, B]`, whose mean, diagonal included, is the published scalar unless the method says otherwise.

Rows may repeat: identical ones are at distance 0 exactly, and their undefined direction has gradient 0. The
public implementations put them at distance 1e-6 and divide their gradient by 1e-12.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from vgsr.distill.methods import method

VERTICES = 8  # of rkd_angle at a time: about 0.2 GB at B = 1,024, where one tensor of all triplets has 4 GB
EPSILON = 1e-7  # the published one of PKT: opposite rows have probability 0, of which there is no logarithm


@method(
    "rkd_distance",
    level="relation",
    unit="smooth L1 of distances in units of the mean distance",
    paper="Park et al., 'Relational knowledge distillation', CVPR 2019 (RKD-D)",
    weight=25.0,
    margin_range=(0.0, 0.05),
)
def rkd_distance(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Smooth L1 between the two matrices of pairwise distances, each divided by the mean of its positive ones."""
    return F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher), reduction="none")


@method(
    "rkd_angle",
    level="relation",
    unit="smooth L1 of cosines of angles, a mean over third rows",
    paper="Park et al., 'Relational knowledge distillation', CVPR 2019 (RKD-A)",
    weight=50.0,
    margin_range=(0.0, 0.02),
)
def rkd_angle(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """[i, j]: mean over k of smooth L1 between the cosines of the angle at row i between rows j and k.

    An angle without two arms (j = i, k = i, or identical rows) has cosine 0, and counts in the mean.
    """
    return _Angles.apply(student, teacher, VERTICES)


@method(
    "pkt",
    level="relation",
    unit="nats of one pair; falls with the batch size",
    paper="Passalis & Tefas, 'Learning deep representations with probabilistic knowledge transfer', ECCV 2018",
    weight=30000.0,
    margin_range=(0.0, 2e-4),
    self_pairs=True,
)
def pkt(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """p log(p / q) - p + q of the teacher's p and the student's q: (cos + 1) / 2 over the sum of its row.

    The published element is p log(p / q), which is negative for half of the pairs, and a margin needs a
    discrepancy that is 0 at agreement only. Both rows sum to 1, so the sum over a row is the same KL.
    """
    p, q = _probabilities(teacher) + EPSILON, _probabilities(student) + EPSILON
    change = (q / p).log()
    # = p log(p/q) - p + q, without the cancellation of numbers that are near one another.
    return p * (change.expm1() - change)


@method(
    "sp",
    level="relation",
    unit="squared difference in a row of length 1; falls with the batch size",
    paper="Tung & Mori, 'Similarity-preserving knowledge distillation', ICCV 2019, eq. 1 to 4",
    weight=1000.0,
    margin_range=(0.0, 0.01),
    self_pairs=True,
)
def sp(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Squared difference of the two Gram matrices, whose rows are scaled to length 1."""
    grams = [F.normalize(rows @ rows.T, dim=1) for rows in (student, teacher)]
    return (grams[0] - grams[1]).square()


@method(
    "cc",
    level="relation",
    unit="squared difference of kernel values",
    paper="Peng et al., 'Correlation congruence for knowledge distillation', ICCV 2019 (Gaussian kernel, order 2)",
    weight=100.0,
    margin_range=(0.0, 0.015),
)
def cc(student: Tensor, teacher: Tensor, labels: Tensor, gamma: float = 0.4) -> Tensor:
    """Squared difference of the two correlation matrices under exp(-gamma |a - b|²) of rows of length 1.

    The mean is the paper's scalar, |difference|² / B². torchdistill's CCKDLoss takes the root of the norm only:
    sqrt(mean) / B. The form over neighbours in the batch is left out: it depends on the order of the batch.
    """
    return (_correlations(student, gamma) - _correlations(teacher, gamma)).square()


def _relative_distances(rows: Tensor) -> Tensor:
    """Euclidean distances `[B, B]` divided by the mean of the positive ones (all 0 if none is positive)."""
    # By differences, not by a matrix product: identical rows get an exact 0 with gradient 0 instead of NaN.
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    positive = (distances > 0).sum()
    mean = distances.sum() / positive.clamp_min(1)
    return distances / (mean + (positive == 0))


class _Angles(Function):
    """`rkd_angle` by blocks of vertices, with its gradient written out: autograd would keep every triplet."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, vertices: int) -> Tensor:
        ctx.save_for_backward(student, teacher)
        ctx.vertices = vertices
        means = student.new_empty(len(student), len(student))
        for block in _blocks(len(student), vertices):
            cosines = [arms @ arms.mT for arms, _ in (_arms(student, block), _arms(teacher, block))]
            means[block] = F.smooth_l1_loss(cosines[0], cosines[1], reduction="none").mean(dim=2)
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor | None, ...]:
        both = list(zip(ctx.saved_tensors, ctx.needs_input_grad[:2], strict=True))
        gradients = [torch.zeros_like(rows) if needed else None for rows, needed in both]
        for block in _blocks(len(weights), ctx.vertices):
            sides = [_arms(rows, block) for rows in ctx.saved_tensors]
            (student, _), (teacher, _) = sides
            slopes = (student @ student.mT).sub_(teacher @ teacher.mT).clamp_(-1, 1)
            slopes.mul_(weights[block, :, None] / len(weights))
            slopes = slopes + slopes.mT  # [i, j, k] pulls at both arms, i to j and i to k
            for (arms, lengths), gradient in zip(sides, gradients, strict=True):
                if gradient is not None:
                    pulls = slopes @ arms
                    pulls -= (pulls * arms).sum(dim=2, keepdim=True) * arms  # a unit vector can only turn
                    pulls /= lengths
                    gradient += pulls.sum(dim=0)
                    gradient[block] -= pulls.sum(dim=1)
                slopes.neg_()  # the teacher is on the other side of the difference
        return *gradients, None


def _blocks(rows: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, rows, size)]


def _arms(rows: Tensor, block: slice) -> tuple[Tensor, Tensor]:
    """Unit vectors from each vertex of a block to each row `[V, B, d]`, and their lengths `[V, B, 1]`.

    Identical rows have a length of infinity: so the arm is 0, and so is its gradient.
    """
    # Differences, and not cosines out of a Gram matrix: those of near rows have no correct digit in float32.
    arms = rows - rows[block, None]
    lengths = torch.linalg.vector_norm(arms, dim=2, keepdim=True)
    lengths.masked_fill_(lengths == 0, torch.inf)
    return arms.div_(lengths), lengths


def _probabilities(rows: Tensor) -> Tensor:
    """(cos + 1) / 2 of each pair of rows over the sum of its row, `[B, B]`."""
    unit = F.normalize(rows, dim=1)
    affinities = (unit @ unit.T + 1).clamp_min(0)  # rounding takes opposite rows below 0
    return affinities / affinities.sum(dim=1, keepdim=True)


def _correlations(rows: Tensor, gamma: float) -> Tensor:
    """exp(-gamma |a - b|²) of unit rows a, b by its Taylor expansion to order 2 in their cosine, `[B, B]`."""
    unit = F.normalize(rows, dim=1)
    exponent = 2 * gamma * (unit @ unit.T)
    return math.exp(-2 * gamma) * (1 + exponent + exponent.square() / 2)
