"""Methods that compare how the rows of a batch lie to one another, in the student's and the teacher's space.

In: student embedding `[B, d]`, teacher `[B, dt]` (d and dt may differ: no projector). Out: discrepancies
`[B, B]`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vgsr.distill.methods import method


@method(
    "rkd_distance",
    level="relation",
    unit="smooth L1 of distances in units of the mean distance",
    paper="Park et al., 'Relational knowledge distillation', CVPR 2019 (RKD-D)",
    weight=25.0,
    margin_range=(0.0, 0.02),
)
def rkd_distance(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Smooth L1 between the two matrices of normalised pairwise distances `[B, B]`; the diagonal is 0.

    Its mean, diagonal included, is the scalar of the public implementations (and 25 their usual weight). One
    difference: two identical rows are at distance 0 here, and so not among the positive distances that the
    mean is taken over; there they are at 1e-6.
    """
    return F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher), reduction="none")


def _relative_distances(rows: Tensor) -> Tensor:
    """Euclidean distances `[B, B]` divided by the mean of the positive ones (all 0 if none is positive)."""
    # By differences, not by a matrix product: identical rows get an exact 0 with gradient 0 instead of NaN.
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    positive = (distances > 0).sum()
    mean = distances.sum() / positive.clamp_min(1)
    return distances / (mean + (positive == 0))
