"""What holds for every method, whatever its formula; the formulas are in the family's own tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vgsr.distill.methods import METHODS, MethodError, Past, check_options, find, method

NAMES = tuple(METHODS)  # before a test adds its own
# Their discrepancy at agreement is not 0 by definition; the family's tests say what it is.
NOT_ZERO = {"infonce", "crd", "vid"}
PAIRED = [name for name in NAMES if METHODS[name].level == "relation"]
# One row's discrepancy does not depend on the other rows.
ALONE = [name for name in NAMES if METHODS[name].level in ("embedding", "logit", "classifier") and name != "dist"]


def finite_with_gradient(d: Tensor, leaf: Tensor) -> bool:
    d.sum().backward()
    return bool(d.isfinite().all() and leaf.grad.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_permutation_of_the_batch_permutes_the_result(name: str, call, draw, earlier) -> None:
    student, teacher, labels = draw(name)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    d = call(name, student, teacher, labels, **earlier(name))
    shuffled = call(name, student[order], teacher[order], labels[order], **earlier(name))
    expected = d[order] if d.dim() == 1 else d[order][:, order]
    assert torch.allclose(shuffled, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted({name for name in NAMES if METHODS[name].queue}))
def test_the_order_of_the_past_is_no_matter(name: str, call, draw, earlier) -> None:
    past = earlier(name)["past"]
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    shuffled = Past(past.student[order], past.teacher[order], past.labels[order])
    batch = draw(name)
    assert torch.allclose(call(name, *batch, past=shuffled), call(name, *batch, past=past), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "remembered"), [(name, False) for name in NAMES] + [(name, True) for name in NAMES if METHODS[name].queue]
)
def test_gradient_of_student_teacher_and_learned(name: str, remembered: bool, call, draw, earlier) -> None:
    student, teacher, labels = draw(name)
    past = earlier(name) if remembered else {}
    learned = {
        key: (start(teacher.shape[1]).double() + 0.1).requires_grad_() for key, start in METHODS[name].learned.items()
    }

    def discrepancies(s: Tensor, t: Tensor, *tensors: Tensor) -> Tensor:
        return call(name, s, t, labels, **past, **dict(zip(learned, tensors, strict=True)))

    inputs = (student.requires_grad_(), teacher.requires_grad_(), *learned.values())
    assert torch.autograd.gradcheck(discrepancies, inputs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_where_student_equals_teacher_and_rows_repeat(name: str, dtype: torch.dtype, call) -> None:
    row = torch.randn(5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    for rows in (row.repeat(4, 1), torch.cat([row.repeat(3, 1), -row[None]])):
        student = rows.clone().requires_grad_()
        assert finite_with_gradient(call(name, student, rows, torch.tensor([0, 1, 0, 2])), student)


@pytest.mark.parametrize("name", NAMES)
def test_a_student_of_zeros_is_finite(name: str, call, draw) -> None:
    _, teacher, labels = draw(name)
    student = torch.zeros_like(teacher, requires_grad=True)
    assert finite_with_gradient(call(name, student, teacher, labels), student)


@pytest.mark.parametrize("name", sorted(set(NAMES) - NOT_ZERO))
def test_agreement_is_zero(name: str, call, draw) -> None:
    student, _, labels = draw(name)
    assert call(name, student, student, labels).abs().max() <= 1e-12


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(2, 6),
    people=st.integers(1, 5),
    nearness=st.sampled_from([0.0, 0.5, 1.0]),
    scale=st.floats(-3, 2),
)
@pytest.mark.parametrize("name", NAMES)
def test_a_discrepancy_is_never_negative(
    name: str, seed: int, rows: int, people: int, nearness: float, scale: float, call
) -> None:
    """A margin frees what is below it: that must be the better end of the scale."""
    generator = torch.Generator().manual_seed(seed)
    teacher, other = (10**scale * torch.randn(rows, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(people, (rows,), generator=generator)
    d = call(name, nearness * teacher + (1 - nearness) * other, teacher, labels)
    assert d.min() >= -1e-12 * max(1.0, d.max().item())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_a_single_row_and_a_single_identity_are_defined(name: str, rows: int, call, draw) -> None:
    """Relations of one row are never asked for, but are no NaN either."""
    student, teacher, _ = (tensor[:rows] for tensor in draw(name))
    student.requires_grad_()
    d = call(name, student, teacher, torch.zeros(rows, dtype=torch.int64))
    assert d.shape == ((rows, rows) if name in PAIRED else (rows,))
    assert finite_with_gradient(d, student)
    if METHODS[name].level == "contrastive":  # nobody to tell apart
        assert d.abs().max() <= 1e-12 and student.grad.abs().max() <= 1e-12


@pytest.mark.parametrize("name", ALONE)
def test_a_row_does_not_depend_on_the_others(name: str, call, draw) -> None:
    student, teacher, labels = draw(name)
    rows = [call(name, student[i : i + 1], teacher[i : i + 1], labels[i : i + 1]) for i in range(len(labels))]
    assert torch.allclose(call(name, student, teacher, labels), torch.cat(rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted({n for n in NAMES if METHODS[n].level in ("embedding", "relation")}))
def test_identities_do_not_matter_where_vectors_are_compared(name: str, call, draw) -> None:
    student, teacher, labels = draw(name)
    one = call(name, student, teacher, torch.zeros_like(labels))
    assert torch.equal(one, call(name, student, teacher, labels))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_float32_keeps_four_digits(name: str, dtype: torch.dtype, call, realistic) -> None:
    """The objective casts what comes in half precision to float32; that must be enough."""
    student, teacher, labels = realistic(name)
    student, teacher = student.to(dtype), teacher.to(dtype)
    exact = call(name, student.double(), teacher.double(), labels)
    leaf = student.float().requires_grad_()
    found = call(name, leaf, teacher.float(), labels)
    assert torch.allclose(found.double(), exact, rtol=1e-4, atol=1e-4 * exact.mean().item())
    assert found.mean().item() == pytest.approx(exact.mean().item(), rel=1e-4)
    found.sum().backward()
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_description_is_complete(name: str) -> None:
    chosen = find(name)
    low, high = chosen.margin_range
    assert chosen.unit and chosen.paper and chosen.weight > 0 and 0 <= low < high
    assert chosen.function.__doc__
    assert all(start(12).shape == (12,) for start in chosen.learned.values())


def test_unknown_names_the_nearest() -> None:
    with pytest.raises(MethodError, match=r"'cosinus'.*'cosine'"):
        find("cosinus")
    with pytest.raises(MethodError, match=r"'temprature'.*'temperature'"):
        check_options(find("kd"), {"temprature": 2.0})
    with pytest.raises(MethodError, match="there is: none"):
        check_options(find("l2"), {"temperature": 2.0})
    with pytest.raises(MethodError, match=r"'infonce' has no option 'queue'"):
        check_options(find("infonce"), {"queue": 64})
    check_options(find("kd"), {"temperature": 2.0})
    assert find("kd").options == {"temperature": 4.0}
    assert find("vid").options == {}


DESCRIPTION = {"level": "embedding", "unit": "u", "paper": "our definition", "weight": 1.0, "margin_range": (0.0, 1.0)}


def plain(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    return student.sum(1)


def bare_option(student: Tensor, teacher: Tensor, labels: Tensor, power: float) -> Tensor:
    return student.sum(1)


def two(student: Tensor, teacher: Tensor) -> Tensor:
    return student.sum(1)


def remembering(student: Tensor, teacher: Tensor, labels: Tensor, *, past: Past) -> Tensor:
    return student.sum(1)


def learning(student: Tensor, teacher: Tensor, labels: Tensor, *, scale: Tensor) -> Tensor:
    return student.sum(1)


@pytest.mark.parametrize(
    ("function", "changes", "message"),
    [
        (plain, {"name": "cosine"}, "already"),
        (plain, {"level": "embeddings"}, "'embedding'"),
        (bare_option, {}, "student, teacher, labels"),
        (two, {}, "student, teacher, labels"),
        (plain, {"queue": 8}, r"\(past\), not none"),
        (remembering, {}, r"\(none\), not past"),
        (plain, {"learned": {"scale": torch.ones}}, r"\(scale\), not none"),
        (learning, {}, r"\(none\), not scale"),
        (learning, {"learned": {"scales": torch.ones}}, r"\(scales\), not scale"),
        (learning, {"learned": {"scale": torch.ones}, "queue": 8}, r"\(past, scale\), not scale"),
    ],
)
def test_registration_refuses_what_cannot_be_a_method(function, changes: dict, message: str) -> None:
    before = dict(METHODS)
    with pytest.raises(MethodError, match=message):
        method(**{"name": "new", **DESCRIPTION, **changes})(function)
    assert before == METHODS


def test_the_same_function_may_register_again() -> None:
    chosen = METHODS["crd"]
    described = {key: value for key, value in vars(chosen).items() if key != "function"}
    assert method(**described)(chosen.function) is chosen.function
    assert METHODS["crd"] == chosen


PLUGIN = """
from vgsr.distill import method

@method("l4", level="embedding", unit="u⁴", paper="our definition", weight=2.0, margin_range=(0.0, 1.0))
def l4(student, teacher, labels, power=4.0):
    return (student - teacher).abs().pow(power).mean(dim=1)
"""
USE = """
import torch
from vgsr.distill import find
chosen = find("l4")
print(chosen.name, chosen.options, chosen.function(torch.full((1, 3), 2.0), torch.zeros(1, 3), torch.tensor([0])))
"""


def in_another_process(folder: Path, module: str) -> subprocess.CompletedProcess:
    """Runs USE where a package is installed whose entry point is `module`."""
    (folder / "stranger.py").write_text(module)
    info = folder / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vgsr.methods]\nfourth = stranger\n")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", USE], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )


def test_a_plugin_is_there_in_every_process(tmp_path: Path) -> None:
    found = in_another_process(tmp_path, PLUGIN)
    assert found.stdout.strip() == "l4 {'power': 4.0} tensor([16.])", found.stderr


def test_a_plugin_that_fails_is_named(tmp_path: Path) -> None:
    found = in_another_process(tmp_path, "raise RuntimeError('no luck')")
    assert found.returncode != 0
    assert "MethodError: the plugin 'fourth' (stranger) cannot be loaded: no luck" in found.stderr
