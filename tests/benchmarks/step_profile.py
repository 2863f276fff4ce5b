"""What a training step spends its time on, by kind of operation; run by hand:

    python tests/benchmarks/step_profile.py [--students resnet34 ecapa] [--batch 32] [--seconds 2] [--threads 2]

Shares of the time that operators themselves take (torch.profiler, CPU, without what they call), over some steps with
the batch read before: the front end, convolutions and matrix products, normalisation, the rest by name.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import material
import torch
from own import own
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile, record_function

KINDS = {  # by a part of an operator's name; the first that fits
    "convolution, matrix product": ("conv", "mm", "linear", "matmul", "mkldnn_re"),
    "normalisation": ("batch_norm",),
    "ReLU, sigmoid, tanh": ("relu", "threshold", "sigmoid", "tanh", "softmax"),
    "copies, layouts": ("copy_", "cat", "clone", "contiguous", "fill_", "zero_", "to_", "slice", "pad"),
    "sums, means, arithmetic": ("sum", "mean", "var", "add", "mul", "div", "sub", "sqrt", "pow", "neg"),
    "optimiser": ("_foreach", "_fused", "lerp"),
}


def kind(name: str) -> str:
    name = name.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "other")


def main() -> None:
    """Print a table for each student."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", nargs="+", default=["resnet34", "ecapa"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--audio", type=Path, default=material.AUDIO)
    parser.add_argument("--utterances", type=int, default=1211)
    parser.add_argument("--work", type=Path, default=Path("/tmp/vgsr-speed-benchmark"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    made = material.make(asked.work, asked.audio, asked.utterances)
    console = Console(width=110)
    for student in asked.students:
        one = own(made, student, asked.batch, asked.seconds, taught=False)
        batch = next(one.read(ahead=False))
        frontend = one.learner.frontend

        def marked(batch, frontend=frontend):  # type: ignore[no-untyped-def]
            with record_function("FRONTEND"):
                return frontend(batch)

        one.learner.frontend = marked  # type: ignore[assignment]
        one.learn(batch)
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as found:
            for _ in range(asked.steps):
                one.learn(batch)
        spent: dict[str, float] = defaultdict(float)
        names: dict[str, float] = defaultdict(float)
        for event in found.events():
            above = event
            while above is not None and above.name != "FRONTEND":
                above = above.cpu_parent
            spent["front end" if above is not None else kind(event.name)] += event.self_cpu_time_total
            names[event.name] += 0 if above is not None else event.self_cpu_time_total
        whole = sum(spent.values())
        table = Table("kind", "share", "ms a step", title=f"{student}: batch {asked.batch}, {asked.threads} threads")
        for name, time in sorted(spent.items(), key=lambda item: -item[1]):
            table.add_row(name, f"{time / whole:.1%}", f"{time / asked.steps / 1e3:.1f}")
        console.print(table)
        top = sorted(names.items(), key=lambda item: -item[1])[:12]
        console.print(", ".join(f"{name} {time / whole:.1%}" for name, time in top), style="dim")


if __name__ == "__main__":
    main()
