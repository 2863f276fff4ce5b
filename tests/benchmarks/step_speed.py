"""One training step, ours beside WeSpeaker's and 3D-Speaker's own code on the same recordings; run by hand:

    python tests/benchmarks/step_speed.py --wespeaker CHECKOUT --speakerlab CHECKOUT [--students resnet34 ecapa]
        [--batch 32] [--seconds 2] [--repeats 7] [--threads 2] [--compile] [--only model data both]

Of each student, in one process and turn by turn (a turn is a batch of each system; medians, and the range of the ratio
to ours within a turn), utterances a second of

- model: features to optimiser step, with the torch threads that were asked for;
- data: recordings to model input, on one thread: decoding, noise or a room for 0.6 of the crops, filterbank, mean
  normalisation. Ours reads crops out of FLAC shards and does the rest for the whole batch (see `material`); WeSpeaker
  decodes whole utterances of 8 s from WAV in tar shards, 3D-Speaker from WAV files (their best case; --kind flac);
- both: what a user sees. Ours as the loop does it, a thread reads ahead. Theirs with one DataLoader worker beside the
  training, and with none; the better one counts. While it is another system's turn, workers stand still (SIGSTOP).

`taught` is the step with a face teacher from a bank; its ratio to the step without is distillation's price. How theirs
are run, and what is left out on both sides (speed perturbation), is told in `toolkits`.
"""

import argparse
import statistics
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import material
import toolkits
import torch
from material import Turn, median, ratio, turns
from own import Own, own
from rich.console import Console
from rich.table import Table
from toolkits import Toolkit

WORK = Path("/tmp/vgsr-speed-benchmark")


def both(system: Own) -> Turn:
    """A turn end to end, of ours."""
    source = system.read(ahead=True)

    def turn() -> int:
        batch = next(source)
        system.learn(batch)
        return len(batch["label"])

    return turn


def both_theirs(system: Toolkit, processes: int, end: ExitStack) -> Turn:
    reading = end.enter_context(closing(system.read(processes)))

    def turn() -> int:
        reading.resume()
        batch = next(reading)
        system.learn(batch)
        reading.pause()
        return size(batch)

    return turn


def data(system: Own) -> Turn:
    """A turn of reading alone, up to the model's input."""
    source = system.read(ahead=False)

    def turn() -> int:
        return len(system.learner.frontend(next(source)))

    return turn


def data_theirs(system: Toolkit) -> Turn:
    reading = system.read(0)
    return lambda: size(next(reading))


def model(system: Own) -> Turn:
    """A turn of learning alone, from features that are there."""
    batch = next(system.read(ahead=False))
    features = system.learner.frontend(batch)

    def turn() -> int:
        frontend, system.learner.frontend = system.learner.frontend, lambda _: features
        try:
            system.learn(batch)
        finally:
            system.learner.frontend = frontend
        return len(features)

    return turn


def model_theirs(system: Toolkit) -> Turn:
    batch = next(system.read(0))

    def turn() -> int:
        system.learn(batch)
        return size(batch)

    return turn


def size(batch: object) -> int:
    """Utterances in a batch of theirs."""
    return len(batch["label"] if isinstance(batch, dict) else batch[1])  # type: ignore[index]


def main() -> None:
    """Print a table for each student."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wespeaker", type=Path, required=True)
    parser.add_argument("--speakerlab", type=Path, required=True)
    parser.add_argument("--students", nargs="+", default=["resnet34", "ecapa"], choices=list(toolkits.WESPEAKER))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="ours with train.compile besides")
    parser.add_argument("--only", nargs="+", default=["model", "data", "both"], choices=["model", "data", "both"])
    parser.add_argument("--kind", default="wav", choices=["wav", "flac"], help="of their recordings")
    parser.add_argument("--audio", type=Path, default=material.AUDIO)
    parser.add_argument("--utterances", type=int, default=1211)
    parser.add_argument("--work", type=Path, default=WORK)
    asked = parser.parse_args()
    made = material.make(asked.work, asked.audio, asked.utterances)
    for student in asked.students:
        compare(asked, made, student)


def compare(asked: argparse.Namespace, made: material.Material, student: str) -> None:
    """One student's table."""
    sizes = (made, student, asked.batch, asked.seconds)
    ours = {"ours": own(*sizes, taught=False), "ours, taught": own(*sizes, taught=True)}
    if asked.compile:
        ours["ours, compiled"] = own(*sizes, taught=False, **{"train.compile": True})
    theirs = [
        toolkits.wespeaker(asked.wespeaker, *sizes, asked.kind),
        toolkits.speakerlab(asked.speakerlab, *sizes, asked.kind),
    ]
    table = Table(title=f"{student}: batch {asked.batch} × {asked.seconds:g} s, {asked.threads} threads")
    for heading in ("part", "system", "utt/s", "s a batch", "ours ÷ it", "parameters"):
        table.add_column(heading, justify="left" if heading in ("part", "system") else "right")
    parameters = {name: system.parameters for name, system in ours.items()} | {t.name: t.parameters for t in theirs}
    ways: dict[str, Callable[[ExitStack], dict[str, Turn]]] = {
        "model": lambda _: {name: model(one) for name, one in ours.items()} | {t.name: model_theirs(t) for t in theirs},
        "data": lambda _: {"ours": data(ours["ours"])} | {t.name: data_theirs(t) for t in theirs},
        "both": lambda end: (
            {name: both(one) for name, one in ours.items()}
            | {f"{t.name}, 1 worker": both_theirs(t, 1, end) for t in theirs}
            | {f"{t.name}, no worker": both_theirs(t, 0, end) for t in theirs}
        ),
    }
    for part in asked.only:
        torch.set_num_threads(1 if part == "data" else asked.threads)
        with ExitStack() as end:
            rates = turns(ways[part](end), asked.repeats)
        for name, found in rates.items():
            whose = name.removesuffix(", 1 worker").removesuffix(", no worker")
            gain = "" if name == "ours" else ratio(rates["ours"], found)
            count = f"{parameters[whose] / 1e6:.2f} M" if part == "model" else ""
            rate = median(found)
            table.add_row(part, name, f"{rate:.1f}", f"{asked.batch / rate:.3f}", gain, count)
        table.add_section()
        if "ours, taught" in rates:
            price = [a / b - 1 for a, b in zip(rates["ours"], rates["ours, taught"], strict=True)]
            table.add_row(part, "distillation costs", f"{statistics.median(price):+.1%}", "", "", "")
            table.add_section()
    console = Console(width=110)
    console.print(table)
    console.print(
        f"torch {torch.__version__}; medians of {asked.repeats} turns, range in brackets; theirs from {asked.kind}"
    )


if __name__ == "__main__":
    main()
