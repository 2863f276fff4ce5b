"""From recordings to the model's input, ours beside WeSpeaker's own pipeline for each utterance; run by hand:

    python tests/benchmarks/pipeline_speed.py --wespeaker CHECKOUT [--batch 32] [--seconds 2] [--repeats 7]
        [--batches 4]

Crops of utterances of 8 s, with nothing done to them, with noise or a room for 0.6 of them, and with the filterbank and
mean normalisation behind it; ours from FLAC shards, WeSpeaker's from tar shards of FLAC and of WAV. On one thread, and
on two: ours then as the loop does it (a thread reads ahead of the front end), WeSpeaker's as two DataLoader workers.
Turn by turn, medians, range of the ratio; a turn is some batches. Theirs is run as told in `toolkits`, where it is also
told what is left out on both sides (speed perturbation).
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import material
import toolkits
import torch
from material import Turn, median, ratio, turns
from own import Own, own
from rich.console import Console
from rich.table import Table

CLEAN = {"augment.noise": None, "augment.rirs": None, "augment.exclusive": False}
STAGES = ("decode", "+ noise, room", "+ filterbank")


def ours(system: Own, batches: int, ahead: bool, stage: str) -> Turn:
    """A turn of ours up to a stage."""
    source = system.read(ahead)
    frontend = system.learner.frontend
    if stage != STAGES[-1]:
        frontend.fbank, frontend.masked = torch.nn.Identity(), False

    def turn() -> int:
        return sum(len(frontend(next(source))) for _ in range(batches))

    return turn


def theirs(reading: Any, batches: int) -> Turn:
    """A turn of WeSpeaker's, with the normalisation that its trainer does for the batch where there are features."""
    normalise = toolkits.module("wespeaker.dataset.dataset_utils").apply_cmvn

    def turn() -> int:
        reading.resume()
        count = 0
        for _ in range(batches):
            batch = next(reading)
            count += len(normalise(batch["feat"]) if "feat" in batch else batch["wav"])
        reading.pause()
        return count

    return turn


def systems(
    asked: argparse.Namespace, made: material.Material, threads: int, stage: str, end: ExitStack
) -> Iterator[tuple[str, Turn]]:
    """All that take turns, by name."""
    sizes = (made, "ecapa", asked.batch, asked.seconds)
    clean = CLEAN if stage == STAGES[0] else {}
    system = own(*sizes, taught=False, **{"student.channels": 32, **clean})
    yield "ours, FLAC", ours(system, asked.batches, threads > 1, stage)
    changes: dict[str, Any] = {"aug_prob": 0.0} if clean else {}
    changes |= {"frontend": "none"} if stage != STAGES[-1] else {}
    for kind in ("flac", "wav"):
        other = toolkits.wespeaker(asked.wespeaker, *sizes, kind)
        reading = end.enter_context(closing(other.read(threads if threads > 1 else 0, changes)))
        yield f"WeSpeaker, {kind.upper()}", theirs(reading, asked.batches)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wespeaker", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batches", type=int, default=4, help="of a turn")
    parser.add_argument("--audio", type=Path, default=material.AUDIO)
    parser.add_argument("--utterances", type=int, default=1211)
    parser.add_argument("--work", type=Path, default=Path("/tmp/vgsr-speed-benchmark"))
    asked = parser.parse_args()
    made = material.make(asked.work, asked.audio, asked.utterances)
    table = Table("threads", "up to", "system", title=f"Recordings to model input, crops of {asked.seconds:g} s")
    for heading in ("utt/s", "ms an utterance", "ours ÷ it"):
        table.add_column(heading, justify="right")
    for threads in (1, 2):
        torch.set_num_threads(1)
        for stage in STAGES:
            with ExitStack() as end:
                rates = turns(dict(systems(asked, made, threads, stage, end)), asked.repeats)
            for name, found in rates.items():
                gain = "" if name.startswith("ours") else ratio(rates["ours, FLAC"], found)
                table.add_row(str(threads), stage, name, f"{median(found):.0f}", f"{1e3 / median(found):.2f}", gain)
        table.add_section()
    console = Console(width=110)
    console.print(table)
    console.print(f"torch {torch.__version__}; medians of {asked.repeats} turns of {asked.batches} × {asked.batch}")


if __name__ == "__main__":
    main()
