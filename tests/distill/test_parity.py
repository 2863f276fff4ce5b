"""The mean of every method is the scalar of a published implementation.

The figures were computed once with the code of others, at the commits below, not with ours: the named class or
function was taken from its file as it stands and run in float64 (torch 2.11.0, on a CPU) on the batches that
`wave` defines. No random generator is in them, so any implementation can be given the same ones. What had to be
set around that code is said beside each figure. Where more than rounding is allowed, their guard against division
by zero is the difference.

    RepDistiller    github.com/HobbitLong/RepDistiller                         b84f547
    mdistiller      github.com/megvii-research/mdistiller                      a08d46f
    DIST            github.com/hunto/image_classification_sota                 6f7a70a
    LSKD            github.com/sunshangquan/logit-standardization-KD           f6e5aa5
    RKD             github.com/lenscloth/RKD                                   0a6c3c0
    PKT             github.com/passalis/probabilistic_kt                       a58fd1b
    torchdistill    github.com/yoshitomo-matsubara/torchdistill                3e4373c
    PML             github.com/KevinMusgrave/pytorch-metric-learning 2.8.1     216a792
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vgsr.distill.methods import METHODS

B = 8


def wave(columns: int, phase: float) -> Tensor:
    """[i, j] = sin(1.3 i + 0.7 j² + 0.9 i j + phase), `[8, columns]`."""
    rows = [[math.sin(1.3 * i + 0.7 * j * j + 0.9 * i * j + phase) for j in range(columns)] for i in range(B)]
    return torch.tensor(rows, dtype=torch.float64)


BATCHES = {
    "relation": (wave(5, 0.1), wave(7, 0.5), torch.arange(B)),
    "embedding": (wave(6, 0.2), wave(6, 1.1), torch.arange(B)),
    "contrastive": (wave(6, 0.2), wave(6, 1.1), torch.arange(B)),  # as many persons as rows
    "logit": (3 * wave(10, 0.3), 3 * wave(10, 0.9), torch.tensor([3 * i % 10 for i in range(B)])),
    "classifier": (3 * wave(10, 0.3), 3 * wave(10, 0.9), torch.tensor([3 * i % 10 for i in range(B)])),
}

PUBLISHED: list[tuple[str, dict[str, float], float, float]] = [
    # method, our options, published scalar, allowed relative difference
    #
    # RepDistiller distiller_zoo/FitNet.py HintLoss()
    ("l2", {}, 0.43517051707039417, 1e-12),
    # RepDistiller distiller_zoo/KD.py DistillKL(T=4); mdistiller distillers/KD.py kd_loss(temperature=4) is the same
    ("kd", {}, 0.7281672675393644, 1e-12),
    # RepDistiller distiller_zoo/KD.py DistillKL(T=1), on the logits over the centres
    ("centres", {}, 0.4328497148982234, 1e-12),
    # mdistiller distillers/DKD.py dkd_loss(alpha=1, beta=8, temperature=4)
    ("dkd", {}, 6.109377240919662, 1e-12),
    # DIST lib/models/losses/dist_kd.py DIST(beta=1, gamma=1, tau=1), which adds 1e-8 to products of norms
    ("dist", {}, 0.6071225564193433, 1e-6),
    # DIST(beta=1, gamma=2, tau=4) with 0 instead of 1e-8, which is 2e-5 of its 10.891169022857056
    ("dist", {"temperature": 4.0, "gamma": 2.0}, 10.891148196956392, 1e-12),
    # LSKD mdistiller/distillers/KD.py kd_loss(temperature=2, logit_stand=True)
    ("lskd", {}, 0.1878672246891207, 1e-12),
    # RKD metric/loss.py RkdDistance() ("elementwise_mean" of old torch read as "mean"); RepDistiller
    # distiller_zoo/RKD.py RKDLoss(w_d=1, w_a=0) and mdistiller distillers/RKD.py rkd_loss(1, 0) are the same
    ("rkd_distance", {}, 0.022046235921929072, 1e-12),
    # the same files: RKdAngle(), RKDLoss(w_d=0, w_a=1), rkd_loss(0, 1)
    ("rkd_angle", {}, 0.028810739911076896, 1e-12),
    # PKT nn/pkt.py cosine_similarity_loss(eps=1e-7); RepDistiller distiller_zoo/PKT.py and mdistiller
    # distillers/PKT.py are the same; they add eps to norms too
    ("pkt", {}, 0.010542874304764863, 1e-6),
    # RepDistiller distiller_zoo/SP.py Similarity(); mdistiller distillers/SP.py sp_loss is the same
    ("sp", {}, 0.09008415084802626, 1e-12),
    # PML losses/ntxent_loss.py NTXentLoss(temperature)(student, labels, ref_emb=teacher, ref_labels=a copy of labels)
    ("infonce", {}, 1.1740855575232758, 1e-12),
    ("infonce", {"temperature": 0.5}, 1.389048414624066, 1e-12),
]


@pytest.mark.parametrize(("name", "options", "published", "tolerance"), PUBLISHED)
def test_mean_is_the_published_scalar(
    name: str, options: dict[str, float], published: float, tolerance: float, call: Callable[..., Tensor]
) -> None:
    mean = call(name, *BATCHES[METHODS[name].level], **options).mean().item()
    assert mean == pytest.approx(published, rel=tolerance, abs=0)


def test_cc_is_the_square_of_the_published_scalar(call: Callable[..., Tensor]) -> None:
    """torchdistill torchdistill/losses/mid_level.py CCKDLoss(gaussian, gamma=0.4, max_p=2, reduction="batchmean").

    It was given rows of length 1, which its kernel supposes. It divides the norm of the difference by B², the paper
    its square: ours is the paper's.
    """
    mean = call("cc", *BATCHES["relation"]).mean().item()
    assert math.sqrt(mean) / B == pytest.approx(0.018468985681050886, rel=1e-12)


def test_vid_is_the_published_scalar_less_a_constant(call: Callable[..., Tensor]) -> None:
    """RepDistiller distiller_zoo/VID.py VIDLoss(6, 6, 6) on maps of one pixel.

    Its regressor was the identity, its log_scale 0.4 d - 3. It has log v where ours has log(v / v_min).
    """
    student, teacher, labels = BATCHES["embedding"]
    width = student.shape[1]
    variances = [math.log(1 + math.exp(0.4 * d - 3)) + 1e-5 for d in range(width)]
    least = 1e-3 / width
    log_variance = torch.tensor([math.log((v - least) * width) for v in variances], dtype=torch.float64)
    mean = call("vid", student, teacher, labels, log_variance=log_variance).mean().item()
    assert mean + 0.5 * math.log(least) == pytest.approx(1.0769298110730772, rel=1e-12)


def test_crd_is_the_published_scalar_of_one_batch(call: Callable[..., Tensor]) -> None:
    """RepDistiller crd/memory.py ContrastMemory(6, 8, K=7, T=0.07) and crd/criterion.py ContrastLoss(8), both sides.

    Its memories were filled with the batch itself, in rows of length 1; the candidates of a row are all of them,
    its own first; the constants Z are those that it takes from its first batch. The second figure is with 0
    instead of the 1e-7 that it adds to K / n.
    """
    mean = call("crd", *BATCHES["contrastive"]).mean().item()
    assert mean == pytest.approx(6.219142011135776, rel=1e-6)
    assert mean == pytest.approx(6.219140276445042, rel=1e-12)
