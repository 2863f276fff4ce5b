"""DDP truth: several workers with a part of a batch each are one worker with all of it, for every method.

One worker takes 64 rows, two take 32 each, three 21, 21 and 22; the same weights, the same steps. Student, heads and
objective are the ones that train; the student has no batch normalisation, whose statistics are each worker's own. Two
speakers have no face; in one step a worker's whole share has none, in another nobody has one.
"""

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vgsr.config import Classification
from vgsr.data.batches import share
from vgsr.distill import METHODS, Distillation, Margin, Objective, find, statistics
from vgsr.students.heads import Heads
from vgsr.training.gather import agree, gather

ROWS, FEATURES, WIDTH, TEACHER, SPEAKERS, STEPS = 64, 12, 16, 24, 20, 4
FACELESS_SPEAKERS, FACELESS_SHARE, FACELESS_STEP = 2, 1, 2  # the last speakers; a step in which rank 0 sees no face, …
COMBINATIONS = [(name,) for name in METHODS] + [("vid", "crd")]
CLASSIFIERS = {  # each of the others with some method, all the rest with the default
    ("l2",): Classification(loss="sphereface2"),
    ("cosine",): Classification(sub_centres=2, top_k=3),
    ("pkt",): Classification(loss="am"),
    ("kd",): Classification(loss="softmax"),
}


def batch(step: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(step)
    made = {
        "features": torch.randn(ROWS, FEATURES, generator=g),
        "label": torch.randint(SPEAKERS, (ROWS,), generator=g),
        "teacher": nn.functional.normalize(torch.randn(ROWS, TEACHER, generator=g)),
        "signals": torch.randn(ROWS, 2, generator=g),
    }
    has_face = (torch.rand(ROWS, generator=g) < 0.8) & (made["label"] < SPEAKERS - FACELESS_SPEAKERS)
    unseen = {FACELESS_SHARE: ROWS // 2, FACELESS_STEP: ROWS}.get(step, 0)
    return {**made, "has_face": (has_face & (torch.arange(ROWS) >= unseen)).long()}


def parts(names: tuple[str, ...]) -> tuple[nn.Module, nn.Module, Objective]:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(FEATURES, 32), nn.Tanh(), nn.Linear(32, WIDTH))
    projected = any(find(name).needs_projector for name in names)
    heads = Heads(WIDTH, SPEAKERS, CLASSIFIERS.get(names, Classification()), TEACHER if projected else None)
    centres = nn.functional.normalize(torch.randn(SPEAKERS, TEACHER))
    centres[-FACELESS_SPEAKERS:] = 0
    distillations = [
        Distillation(find(name), dimension=TEACHER, margin=Margin("softplus", 0.3, "quantile"), centres=centres)
        for name in names
    ]
    known = statistics(torch.randn(100, 2))
    return student, heads, Objective(distillations, apply_to="both", statistics=known, student_norm=True)


def steps(names: tuple[str, ...], rank: int, world: int) -> list[dict[str, Tensor]]:
    """Losses, gradients and the objective's state over some optimiser steps."""
    student, heads, objective = parts(names)
    own = [*student.parameters(), *heads.parameters(), *objective.parameters()]
    optimiser = torch.optim.SGD(own, lr=0.01)
    on_student, on_heads = (
        (student, heads) if world == 1 else (DistributedDataParallel(student), DistributedDataParallel(heads))
    )
    shares, seen = [share(ROWS, one, world) for one in range(world)], []
    sizes = list(map(len, shares))
    for step in range(STEPS):
        mine = {name: tensor[list(shares[rank])] for name, tensor in batch(step).items()}
        embedding = gather(on_student(mine["features"]), sizes)
        known = {name: gather(mine[name], sizes) for name in ("label", "teacher", "has_face", "signals")}
        out = on_heads(embedding, known["label"], 0.1)
        terms = objective(
            class_losses=out.losses,
            embedding=embedding,
            projected=out.projected,
            logits=out.logits,
            teacher=known["teacher"],
            has_face=known["has_face"].bool(),
            labels=known["label"],
            signals=known["signals"],
        )
        optimiser.zero_grad()
        terms.loss.backward()
        agree(objective.parameters(), world)
        seen.append(
            {
                "loss": terms.loss.detach(),
                "distillation": terms.distillation.detach(),
                **{
                    f"gradient {i}": torch.zeros_like(p) if p.grad is None else p.grad.clone()
                    for i, p in enumerate(own)
                },
                **{f"state {name}": value.clone() for name, value in objective.state_dict().items()},
            }
        )
        optimiser.step()
    return seen


def _worker(rank: int, world: int, place: str, port: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    torch.save({" + ".join(names): steps(names, rank, world) for names in COMBINATIONS}, f"{place}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def of_workers(request, tmp_path_factory, together):
    place, world = tmp_path_factory.mktemp("workers"), request.param
    together(world, _worker, world, str(place))
    return [torch.load(place / f"{rank}.pt", weights_only=True) for rank in range(world)]


def test_every_other_classifier_is_among_them():
    assert set(CLASSIFIERS) < set(COMBINATIONS)


@pytest.mark.parametrize("names", COMBINATIONS, ids=" + ".join)
def test_several_workers_are_one(of_workers, names):
    whole = steps(names, 0, 1)
    assert [bool(figures["distillation"] > 0) for figures in whole] == [step != FACELESS_STEP for step in range(STEPS)]
    for rank, found in enumerate(of_workers):
        parts = found[" + ".join(names)]
        for step, expected in enumerate(whole):
            for what, value in expected.items():
                scale = max(1.0, value.abs().max().item()) if value.numel() else 1.0
                gap = (parts[step][what] - value).abs().max().item() if value.numel() else 0.0
                assert gap <= 1e-5 * scale, f"rank {rank}, step {step}, {what}: {gap}"
