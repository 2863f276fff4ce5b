"""How long the loop waits for data in whole epochs, and what two workers on two cores are worth; run by hand:

    python tests/benchmarks/epoch_wait.py [--students ecapa resnet34] [--batch 32] [--seconds 2] [--epochs 5]
        [--utterances 320] [--only wait workers]

wait: `vgsr.training.loop` trains on real recordings in shards, with noise and rooms, on two threads; `data_wait_share`
of each epoch's row, from its first batch, for which nobody has read ahead, to its last. Goal: < 3 %.

workers: steps of 1 and of 2 workers (processes with a thread each, gloo), of a global batch each, and what is lost on
the way from one to two, each of these beside the one before:
- one worker with half the batch, alone: what a worker could do;
- two of them that know nothing of each other: they share memory, caches and reading ahead;
- two that gather embeddings, but do not average the student's gradients;
- two as they train.
Without recordings in ../shared/data it says so and does nothing.
"""

import argparse
import functools
import json
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import material
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from material import Material, experiment
from own import own
from rich.console import Console
from rich.table import Table

from vgsr.training import loop
from vgsr.training.session import LocalSession, Row

# of workers: name, processes, whether they train together, whether gradients are averaged, threads each
WAYS = {
    "1 worker, 2 threads": (1, False, False, 2),
    "1 worker, 1 thread": (1, False, False, 1),
    "half the batch, alone": (1, False, False, 1),
    "2 × half, apart": (2, False, False, 1),
    "2 workers, own gradients": (2, True, False, 1),
    "2 workers": (2, True, True, 1),
}


def waits(made: Material, student: str, asked: argparse.Namespace) -> list[Row]:
    """Rows of an epoch each."""
    torch.set_num_threads(2)
    rows: list[Row] = []
    changes = {"train.epochs": asked.epochs, "train.warmup_epochs": 0, "teacher.bank": None}
    made_of = experiment(made, student, asked.batch, asked.seconds, **changes)
    with tempfile.TemporaryDirectory() as folder:
        loop.train(made_of, LocalSession(folder, rows.append))
    return [row for row in rows if "val_eer" in row]


def work(rank: int, way: str, made: Material, student: str, asked: argparse.Namespace, port: int, place: str) -> None:
    """One process: seconds of each turn, and within it of gathering, into a file."""
    processes, together, averaged, threads = WAYS[way]
    torch.set_num_threads(threads)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=processes)
    world = processes if together else 1
    batch = asked.batch if together or way.startswith("1 worker") else asked.batch // 2
    one = own(made, student, batch, asked.seconds, taught=False, rank=rank if together else 0, world=world)
    if together and not averaged:
        one.learner.parallel_student.require_backward_grad_sync = False
    spent = clock(("gather", "agree"))
    source, seconds, gathering = one.read(ahead=True), [], []
    for turn in range(asked.epochs + 1):
        dist.barrier()
        start, before = time.perf_counter(), sum(spent)
        one.learn(next(source))
        if turn:  # the first is to warm up
            seconds.append(time.perf_counter() - start)
            gathering.append(sum(spent) - before)
    Path(place, str(rank)).write_text(json.dumps([seconds, gathering]))
    dist.barrier()
    dist.destroy_process_group()


def clock(names: tuple[str, ...]) -> list[float]:
    """Seconds of each call of the loop's functions of these names, from now on (forward only)."""
    spent: list[float] = []

    def timed(function: Any) -> Any:
        @functools.wraps(function)
        def called(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                spent.append(time.perf_counter() - start)

        return called

    for name in names:
        setattr(loop, name, timed(getattr(loop, name)))
    return spent


def rate(way: str, made: Material, student: str, asked: argparse.Namespace) -> tuple[float, float]:
    """Utterances a second of all processes together, and the share of a step that rank 0 spends gathering."""
    processes = WAYS[way][0]
    with tempfile.TemporaryDirectory() as place, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        mp.spawn(work, (way, made, student, asked, port, place), nprocs=processes)
        found = [json.loads(Path(place, str(rank)).read_text()) for rank in range(processes)]
    slowest = [max(turn) for turn in zip(*(seconds for seconds, _ in found), strict=True)]
    utterances = asked.batch if processes > 1 or way.startswith("1 worker") else asked.batch // 2
    share = statistics.median(g / s for g, s in zip(found[0][1], found[0][0], strict=True))
    return utterances / statistics.median(slowest), share


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", nargs="+", default=["ecapa", "resnet34"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--epochs", type=int, default=5, help="and turns of workers")
    parser.add_argument("--utterances", type=int, default=320)
    parser.add_argument("--only", nargs="+", default=["wait", "workers"], choices=["wait", "workers"])
    parser.add_argument("--audio", type=Path, default=material.AUDIO)
    parser.add_argument("--work", type=Path, default=Path("/tmp/vgsr-speed-benchmark"))
    asked = parser.parse_args()
    console = Console(width=110)
    if not asked.audio.is_dir():
        console.print(f"skipped: no real recordings in {asked.audio}; name a folder of FLAC files with --audio")
        return
    made = material.make(asked.work, asked.audio, asked.utterances)
    for student in asked.students:
        if "wait" in asked.only:
            table = Table("epoch", "utt/s", "waits for data", title=f"{student}: epochs of {asked.utterances} crops")
            rows = waits(made, student, asked)
            for row in rows:
                table.add_row(str(row["epoch"]), f"{row['utterances_per_second']:.1f}", f"{row['data_wait_share']:.2%}")
            share = statistics.median(row["data_wait_share"] for row in rows)
            table.add_row("median", "", f"{share:.2%}")
            console.print(table)
        if "workers" in asked.only:
            table = Table("way", "utt/s", "× 1 worker, 1 thread", "gathering", title=f"{student}: workers on 2 cores")
            rates = {way: rate(way, made, student, asked) for way in WAYS}
            for way, (found, share) in rates.items():
                gain = found / rates["1 worker, 1 thread"][0]
                table.add_row(way, f"{found:.1f}", f"{gain:.2f}", f"{share:.1%}" if WAYS[way][1] else "")
            console.print(table)


if __name__ == "__main__":
    main()
