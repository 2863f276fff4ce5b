"""What distillation costs: each method's whole term as a share of one ECAPA-512 training step on CPU (run by hand).

    python tests/benchmarks/distill_cost.py        # batches of 256 need about 7 GB of memory
    python tests/benchmarks/distill_cost.py 64     # the step is measured with 64 utterances, and counts four times

A term is what a method adds between the embedding and the loss, forward and backward, to the same step without a
teacher: the projector where it needs one, D, a hinge at the running median, and the queue. The step is fbank, ECAPA,
AAM-softmax, backward and AdamW on 2 s crops. Both are medians of CPU seconds on one thread, which a busy machine
changes little.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vgsr import students
from vgsr.config import Classification
from vgsr.data.features import Fbank
from vgsr.distill import METHODS, Distillation, Margin, Method, Objective
from vgsr.students.heads import Heads

BATCH, EMBEDDING, TEACHER, SPEAKERS = 256, 192, 128, 1211
SAMPLES, BINS = 32_000, 80
WARM_UP, TERMS, STEPS = 6, 11, 3  # the warm-up fills the queue


def seconds(work: Callable[[], None]) -> float:
    """CPU time of one run."""
    start = time.process_time()
    work()
    return time.process_time() - start


def classifier(projected: bool) -> Heads:
    """Fresh heads, with a projector to the teacher's space if there is to be one."""
    return Heads(EMBEDDING, SPEAKERS, Classification(), teacher_dim=TEACHER if projected else None)


def loss(heads: Heads, objective: Objective, embedding: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """The loss of a batch, every row of which has a face."""
    said = heads(embedding, labels, 0.2)
    return objective(
        class_losses=said.losses,
        embedding=embedding,
        projected=said.projected,
        logits=said.logits,
        teacher=teacher,
        has_face=torch.ones(len(labels), dtype=torch.bool),
        labels=labels,
        signals=torch.zeros(len(labels), 0),
    ).loss


def term(method: Method | None) -> Callable[[], None]:
    """Forward and backward from the embedding to the loss and back, with that method or without a teacher."""
    heads = classifier(method is not None and method.needs_projector)
    centres = torch.randn(SPEAKERS, TEACHER)
    margin = Margin("hinge", 0.5, "quantile")
    taught = [Distillation(method, dimension=TEACHER, margin=margin, centres=centres)] if method else []
    objective = Objective(taught)
    embedding = torch.randn(BATCH, EMBEDDING, requires_grad=True)
    teacher = torch.nn.functional.normalize(torch.randn(BATCH, TEACHER))
    labels = torch.randint(SPEAKERS, (BATCH,))
    return lambda: loss(heads, objective, embedding, teacher, labels).backward()


def step(batch: int) -> Callable[[], None]:
    """One training step without a teacher."""
    fbank = Fbank(BINS)
    student = students.build("ecapa", bins=BINS, channels=512, embedding=EMBEDDING)
    heads, objective = classifier(projected=False), Objective([])
    optimiser = torch.optim.AdamW([*student.parameters(), *heads.parameters()])
    wave, labels = torch.randn(batch, SAMPLES), torch.randint(SPEAKERS, (batch,))
    teacher = torch.zeros(batch, TEACHER)

    def work() -> None:
        with torch.no_grad():
            features = fbank(wave)
        optimiser.zero_grad(set_to_none=True)
        loss(heads, objective, student(features), teacher, labels).backward()
        optimiser.step()

    return work


def added(method: Method) -> float:
    """Median seconds that a method adds; runs with and without it take turns, so that a busy moment meets both."""
    with_it, without = term(method), term(None)
    for _ in range(WARM_UP):
        with_it(), without()
    return statistics.median(seconds(with_it) - seconds(without) for _ in range(TERMS))


def main(batch: int) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    whole = step(batch)
    whole()
    one_step = statistics.median(seconds(whole) for _ in range(STEPS)) * BATCH / batch
    scaled = "" if batch == BATCH else f", measured with {batch} and scaled"
    table = Table("method", "level", "ms", "share of the step", title=f"Distillation, {BATCH} utterances")
    for name, method in METHODS.items():
        cost = added(method)
        table.add_row(name, method.level, f"{1e3 * cost:.1f}", f"{cost / one_step:.2%}")
    console = Console()
    console.print(table)
    console.print(f"ECAPA-512 step: {one_step:.1f} s{scaled}; one thread, torch {torch.__version__}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else BATCH)
