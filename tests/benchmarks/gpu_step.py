"""Training steps on a GPU: utterances a second and MFU by batch size, eager and compiled, with and without a teacher.

    python tests/benchmarks/gpu_step.py [--students resnet34 ecapa:1024] [--batches 64 128 256 512] [--seconds 2]
        [--steps 20] [--repeats 5] [--peak TFLOPS] [--device cuda] [--no-compile]

Run by hand, with neither Ray nor MLflow. A step is the loop's own, with the front end (noise, rooms, filterbank) on the
GPU and bf16 autocast; its batch is one that has been read, over and over: reading is measured by pipeline_speed.py. The
ways take turns; medians. FLOPs are those of the student's and heads' matrix products and convolutions, forward and
backward, as torch counts them; MFU is their rate against the device's dense bf16 peak (of `PEAKS`, or --peak).
"""

import argparse
import statistics
from pathlib import Path

import material
import torch
from material import Material, Turn, median, turns
from own import Own, own
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

# Dense bf16 TFLOPS of the vendor's data sheets, by a part of torch's name of the device.
PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0, "A10": 125.0, "V100": 125.0}


def flops(one: Own, batch: dict[str, torch.Tensor]) -> float:
    """Of a step's forward and backward of student and heads, an utterance."""
    student, heads = one.learner.student, one.learner.heads
    features = one.learner.frontend({name: tensor.to(one.session.device) for name, tensor in batch.items()})
    with FlopCounterMode(display=False) as counter:
        said = heads(student(features), batch["label"].to(one.session.device), 0.2)
        said.losses.mean().backward()
    one.learner.optimiser.zero_grad(set_to_none=True)
    return counter.get_total_flops() / len(features)


def steps(one: Own, batch: dict[str, torch.Tensor], count: int) -> Turn:
    """A turn of so many steps; each ends with its figures on the CPU, so nothing is left running behind it."""

    def turn() -> int:
        for _ in range(count):
            one.learn(batch)
        return count * len(batch["label"])

    return turn


def measure(asked: argparse.Namespace, made: Material, student: str, size: int, table: Table, peak: float) -> None:
    """Rows of one batch size."""
    backbone, _, channels = student.partition(":")
    changes = {"student.channels": int(channels)} if channels else {}
    ways = [(False, False), (False, True)] + ([] if asked.no_compile else [(True, False), (True, True)])
    systems: dict[tuple[bool, bool], Own] = {}
    try:
        for compiled, taught in ways:
            how = {"train.compile": compiled, "train.precision": "bf16", **changes}
            systems[compiled, taught] = own(
                made, backbone, size, asked.seconds, taught=taught, device=asked.device, **how
            )
        batch = next(systems[False, True].read(ahead=False))
        if asked.device.startswith("cuda"):
            batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
        work = flops(systems[False, False], batch)
        named = {str(way): steps(one, batch, asked.steps) for way, one in systems.items()}
        rates = turns(named, asked.repeats)
    except torch.OutOfMemoryError:
        table.add_row(student, str(size), "", "", "out of memory")
        return
    for compiled, taught in systems:
        found, plain = rates[str((compiled, taught))], rates[str((compiled, False))]
        price = statistics.median(a / b - 1 for a, b in zip(plain, found, strict=True))
        table.add_row(
            student,
            str(size),
            "compiled" if compiled else "eager",
            "taught" if taught else "",
            f"{median(found):.0f}",
            f"{work * median(found) / 1e12:.2f}",
            f"{work * median(found) / 1e12 / peak:.1%}" if peak else "?",
            f"{price:+.1%}" if taught else "",
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", nargs="+", default=["resnet34", "ecapa:1024"])
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 128, 256, 512])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", type=float, default=0.0, help="dense bf16 TFLOPS of the device")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--audio", type=Path, default=material.AUDIO)
    parser.add_argument("--utterances", type=int, default=1211)
    parser.add_argument("--work", type=Path, default=Path("/tmp/vgsr-speed-benchmark"))
    asked = parser.parse_args()
    console = Console(width=110)
    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        console.print("no GPU here; --device cpu only shows that it runs")
        return
    name = torch.cuda.get_device_name() if asked.device.startswith("cuda") else "CPU"
    peak = asked.peak or next((peak for part, peak in PEAKS.items() if part in name), 0.0)
    made = material.make(asked.work, asked.audio, asked.utterances)
    table = Table("student", "batch", "way", "", title=f"{name}, bf16, crops of {asked.seconds:g} s")
    for heading in ("utt/s", "TFLOPS", "MFU", "distillation"):
        table.add_column(heading, justify="right")
    for student in asked.students:
        for size in asked.batches:
            measure(asked, made, student, size, table, peak)
            torch.cuda.empty_cache()
    console.print(table)
    console.print(f"torch {torch.__version__}; medians of {asked.repeats} turns of {asked.steps} steps; peak {peak:g}")


if __name__ == "__main__":
    main()
