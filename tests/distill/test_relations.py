"""Relations against loops over scalars; repeated, equal and vanished rows; rkd_angle by blocks of vertices."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vgsr.distill.methods import METHODS
from vgsr.distill.relations import VERTICES, _Angles, pkt, rkd_angle

Rows = list[list[float]]
Loop = Callable[[Rows, Rows], Rows]


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: list[float], b: list[float]) -> float:
    lengths = math.sqrt(dot(a, a) * dot(b, b))
    return dot(a, b) / lengths if lengths > 0 else 0.0


def huber(x: float) -> float:
    return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5


def pairs(student: Rows, teacher: Rows, discrepancy: Callable[[float, float], float]) -> Rows:
    return [[discrepancy(x, y) for x, y in zip(a, b, strict=True)] for a, b in zip(student, teacher, strict=True)]


def loop_rkd_distance(student: Rows, teacher: Rows) -> Rows:
    def relative(rows: Rows) -> Rows:
        distances = [[math.dist(a, b) for b in rows] for a in rows]
        positive = [d for row in distances for d in row if d > 0]
        return [[d * len(positive) / sum(positive) if positive else d for d in row] for row in distances]

    return pairs(relative(student), relative(teacher), lambda x, y: huber(x - y))


def loop_rkd_angle(student: Rows, teacher: Rows) -> Rows:
    def angle(rows: Rows, i: int, j: int, k: int) -> float:
        to_j, to_k = ([x - y for x, y in zip(rows[end], rows[i], strict=True)] for end in (j, k))
        return cosine(to_j, to_k)

    every = range(len(student))
    return [
        [sum(huber(angle(student, i, j, k) - angle(teacher, i, j, k)) for k in every) / len(student) for j in every]
        for i in every
    ]


def loop_pkt(student: Rows, teacher: Rows) -> Rows:
    def probabilities(rows: Rows) -> Rows:
        affinities = [[(cosine(a, b) + 1) / 2 for b in rows] for a in rows]
        return [[x / sum(row) for x in row] for row in affinities]

    def element(q: float, p: float) -> float:
        return (p + 1e-7) * math.log((p + 1e-7) / (q + 1e-7)) - p + q

    return pairs(probabilities(student), probabilities(teacher), element)


def loop_sp(student: Rows, teacher: Rows) -> Rows:
    def gram(rows: Rows) -> Rows:
        products = [[dot(a, b) for b in rows] for a in rows]
        return [[x / math.sqrt(dot(row, row)) for x in row] for row in products]

    return pairs(gram(student), gram(teacher), lambda x, y: (x - y) ** 2)


def loop_cc(student: Rows, teacher: Rows) -> Rows:
    def correlations(rows: Rows) -> Rows:
        return [
            [math.exp(-0.8) * sum((0.8 * cosine(a, b)) ** p / math.factorial(p) for p in range(3)) for b in rows]
            for a in rows
        ]

    return pairs(correlations(student), correlations(teacher), lambda x, y: (x - y) ** 2)


LOOPS: dict[str, Loop] = {
    "rkd_distance": loop_rkd_distance,
    "rkd_angle": loop_rkd_angle,
    "pkt": loop_pkt,
    "sp": loop_sp,
    "cc": loop_cc,
}


def draw(rows: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """A student of width 4 and a teacher of width 6."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(rows, width, generator=generator, dtype=dtype) for width in (4, 6))
    return student, teacher


def discrepancies(name: str, student: Tensor, teacher: Tensor) -> Tensor:
    return METHODS[name].function(student, teacher, torch.arange(len(student)))


def test_every_relation_has_a_loop() -> None:
    assert set(LOOPS) == {name for name, method in METHODS.items() if method.level == "relation"}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rows", [1, 2, 3, VERTICES + 3])
def test_matches_loop(name: str, seed: int, rows: int) -> None:
    student, teacher = draw(rows, seed)
    expected = torch.tensor(LOOPS[name](student.tolist(), teacher.tolist()), dtype=torch.float64)
    found = discrepancies(name, student, teacher)
    assert found.shape == (rows, rows)
    assert (found - expected).abs().max() <= 1e-9


@pytest.mark.parametrize("name", LOOPS)
def test_matches_loop_where_rows_repeat(name: str) -> None:
    student, teacher = draw(7)
    student[3], teacher[5], teacher[6] = student[1], teacher[0], teacher[0]
    expected = torch.tensor(LOOPS[name](student.tolist(), teacher.tolist()), dtype=torch.float64)
    assert (discrepancies(name, student, teacher) - expected).abs().max() <= 1e-9


@pytest.mark.parametrize("name", LOOPS)
def test_gradient_is_that_of_the_value(name: str) -> None:
    student, teacher = draw(VERTICES + 3)
    inputs = (student.requires_grad_(), teacher.requires_grad_())
    assert torch.autograd.gradcheck(lambda s, t: discrepancies(name, s, t), inputs)


@pytest.mark.parametrize("name", LOOPS)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 12), spread=st.floats(-6, 3))
def test_never_negative(name: str, seed: int, rows: int, spread: float) -> None:
    for dtype in (torch.float32, torch.float64):
        teacher = draw(rows, seed, dtype)[1]
        student = teacher + 10**spread * draw(rows, seed + 1, dtype)[1]
        assert discrepancies(name, student, teacher).min() >= 0


@pytest.mark.parametrize("name", LOOPS)
def test_pairs_of_a_row_with_itself_say_what_is_declared(name: str) -> None:
    largest = discrepancies(name, *draw(9)).diagonal().max()
    assert largest > 1e-6 if METHODS[name].self_pairs else largest <= 1e-30


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("case", ["equal", "repeated", "opposite", "zero", "tiny", "huge"])
def test_awkward_rows_stay_finite(name: str, dtype: torch.dtype, rows: int, case: str) -> None:
    row = draw(1, dtype=dtype)[1]
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0], dtype=dtype)[:rows, None]
    teacher = draw(rows, dtype=dtype)[1]
    student = {
        "equal": teacher,
        "repeated": row.repeat(rows, 1),
        "opposite": row * signs,
        "zero": torch.zeros_like(teacher),
        "tiny": teacher * 1e-9,
        "huge": teacher * 1e6,
    }[case]
    for fixed in (teacher, row * signs, row.repeat(rows, 1)):
        learning = student.clone().requires_grad_()
        d = discrepancies(name, learning, fixed)
        d.sum().backward()
        assert d.isfinite().all() and learning.grad.isfinite().all()


@pytest.mark.parametrize("name", LOOPS)
def test_agreement_is_zero_and_stays_there(name: str) -> None:
    _, teacher = draw(9, dtype=torch.float32)
    student = teacher.clone().requires_grad_()
    d = discrepancies(name, student, teacher)
    d.sum().backward()
    assert (d == 0).all() and student.grad.abs().max() <= 1e-6


@pytest.mark.parametrize("name", ["rkd_distance", "rkd_angle"])
def test_identical_rows_do_not_pull_at_one_another(name: str) -> None:
    """All its distances are 0, so the student has no direction to move in, whatever the teacher says."""
    _, teacher = draw(5)
    student = torch.ones(5, 4, dtype=torch.float64, requires_grad=True)
    discrepancies(name, student, teacher).sum().backward()
    assert (student.grad == 0).all()


@pytest.mark.parametrize("name", LOOPS)
def test_single_precision_keeps_what_is_known_of_near_rows(name: str) -> None:
    """Ten voices close together, far from the origin: differences of float32 inputs are still exact."""
    speakers, faces = draw(10)
    student, teacher = (0.01 * speakers + 5).float(), faces.float()
    exact = discrepancies(name, student.double(), teacher.double())
    assert (discrepancies(name, student, teacher) - exact).abs().max() <= 1e-5 * exact.max()


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_pkt_sum_to_the_divergence(seed: int) -> None:
    student, teacher = draw(8, seed)

    def probabilities(rows: Tensor) -> Tensor:
        affinities = (F.cosine_similarity(rows[:, None], rows[None], dim=2) + 1) / 2
        return affinities / affinities.sum(dim=1, keepdim=True)

    divergence = F.kl_div(probabilities(student).log(), probabilities(teacher), reduction="none").sum(dim=1)
    found = pkt(student, teacher, torch.arange(8)).sum(dim=1)
    assert torch.allclose(found, divergence, rtol=0, atol=1e-5 * divergence.max().item())


def all_triplets(student: Tensor, teacher: Tensor) -> Tensor:
    """rkd_angle at once, its gradient by autograd."""

    def cosines(rows: Tensor) -> Tensor:
        arms = rows[None] - rows[:, None]
        lengths = torch.linalg.vector_norm(arms, dim=2, keepdim=True)
        arms = arms / lengths.masked_fill(lengths == 0, torch.inf)
        return torch.einsum("ijd,ikd->ijk", arms, arms)

    return F.smooth_l1_loss(cosines(student), cosines(teacher), reduction="none").mean(dim=2)


@pytest.mark.parametrize("vertices", [1, 4, 7, 13, 50])
def test_blocks_of_rkd_angle_change_neither_value_nor_gradient(vertices: int) -> None:
    weights = torch.rand(13, 13, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows = draw(13)
    rows[0][4] = rows[0][2]

    def value_and_gradients(function: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, ...]:
        inputs = [x.clone().requires_grad_() for x in rows]
        value = function(*inputs)
        return value.detach(), *torch.autograd.grad((weights * value).sum(), inputs)

    expected = value_and_gradients(all_triplets)
    found = value_and_gradients(lambda s, t: _Angles.apply(s, t, vertices))
    for ours, direct in zip(found, expected, strict=True):
        assert torch.allclose(ours, direct, rtol=0, atol=1e-12)


def test_rkd_angle_sees_angles_only() -> None:
    """Moved, scaled and turned: the same triangles."""
    _, teacher = draw(6)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).Q
    assert rkd_angle(3 * teacher @ turn + 7, teacher, torch.arange(6)).max() <= 1e-24
