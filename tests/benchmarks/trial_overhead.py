"""What Ray costs a trial: a fresh tiny search, one trial at a time, and where the seconds between its trials go.

    python tests/benchmarks/trial_overhead.py [TRIALS] [EPOCHS]

The first trial starts the workers, those after it find them there. A trial begins when the driver has heard of the end
of the one before. "at work" is the loop itself, from its first step to its last epoch; all else is overhead. The second
table is the CPU time of the search's processes, which says more than the first on a machine that has other work to do.
"""

import itertools
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console
from rich.table import Table

from vgsr import config, corpora
from vgsr.search import Plan, main
from vgsr.search.plan import ROW
from vgsr.search.watch import Bridge

PHASES = ("driver", "workers", "first step", "at work", "end heard")


def measure(trials: int, epochs: int) -> tuple[list[dict[str, float]], list[float], dict[str, list[float]]]:
    """Seconds of each phase of each trial, of each report, and CPU seconds a process, by the kind of the process."""
    heard: list[dict[str, Any]] = []

    def on_start(self: Bridge, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        heard.append({"driver": time.time(), "rows": []})
        started(self, iteration, trials, trial, **info)

    def on_result(self: Bridge, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        heard[-1]["rows"].append((time.time(), result[ROW]))
        told(self, iteration, trials, trial, result, **info)

    def on_complete(self: Bridge, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        heard[-1]["end"] = time.time()
        ended(self, iteration, trials, trial, **info)

    started, told, ended = Bridge.on_trial_start, Bridge.on_trial_result, Bridge.on_trial_complete
    patches = {"on_trial_start": on_start, "on_trial_result": on_result, "on_trial_complete": on_complete}
    with tempfile.TemporaryDirectory() as folder, mock.patch.multiple(Bridge, **patches):
        os.environ.update(VGSR_HOME=f"{folder}/home", RAY_ADDRESS="local")
        arguments = [f"experiment={_experiment(Path(folder), epochs)}", f"trials={trials}", "top=0", "concurrent=1"]
        spent = _Spent()
        main(Plan("overhead", _space, {}), [*arguments, f"grace={epochs}"])
        cpu = spent.stop()
    phases, reports = [], []
    for before, trial in itertools.pairwise([{"end": heard[0]["driver"]}, *heard]):
        rows = [(at, row) for at, row in trial["rows"] if "started" not in row]
        entered = next(row["started"]["entered"] for _, row in trial["rows"] if "started" in row)
        first, last = rows[0][1], rows[-1][1]
        stamps = [
            before["end"],
            trial["driver"],
            entered,
            entered + first["attempt_seconds"] - first["total_seconds"],
            entered + last["attempt_seconds"],
            trial["end"],
        ]
        phases.append(dict(zip(PHASES, [b - a for a, b in itertools.pairwise(stamps)], strict=True)))
        reports += [at - entered - row["attempt_seconds"] for at, row in rows]
    return phases, reports, cpu


def _experiment(folder: Path, epochs: int) -> Path:
    corpus = folder / "corpus"
    corpora.prepare("synthetic", None, corpus, speakers=12, sessions=2, utterances=2, validation=0.25, test=0.25)
    values = {
        "name": "overhead",
        "corpus": {"manifest": str(corpus)},
        "teacher": {"bank": str(corpus / "banks" / "synthetic.parquet")},
        "student": {"channels": 8, "embedding": 16},
        "distill": {"method": "cosine"},
        "train": {"epochs": epochs, "batch": 8, "crop_seconds": 0.5},
    }
    (folder / "overhead.yaml").write_text(config.build(values).yaml())
    return folder / "overhead.yaml"


def _space(trial: Any, base: Any) -> dict[str, Any]:
    return {"distill.weight": trial.suggest_float("weight", 0.1, 1.0)}


class _Spent:
    """Watches the CPU seconds of Ray's processes on this machine, four times a second."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[str, float]] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> dict[str, list[float]]:
        """Kind of process → CPU seconds of each."""
        self._done.set()
        self._thread.join()
        found: dict[str, list[float]] = {}
        for name, seconds in self._last.values():
            found.setdefault(name, []).append(seconds)
        return found

    def _watch(self) -> None:
        import psutil  # Ray brings its own, found once Ray is loaded

        own = psutil.Process()
        while not self._done.wait(0.25):
            for process in own.children(recursive=True):
                try:
                    name, times = process.cmdline()[:1], process.cpu_times()
                except psutil.Error:
                    continue
                if name and name[0].startswith("ray::") and not name[0].startswith("ray::IDLE"):
                    kind = name[0].removeprefix("ray::").partition(".")[0].partition(":")[0]
                    self._last[process.pid] = (kind, times.user + times.system)


def show(phases: list[dict[str, float]], reports: list[float], cpu: dict[str, list[float]]) -> None:
    """Print the tables."""
    console = Console()
    first, later = phases[0], phases[1:]
    table = Table("phase", "first trial s", f"median of {len(later)} later s", "largest s")
    table.title = f"load {os.getloadavg()[0]:.1f}"
    sums = {name: (name,) for name in PHASES} | {"driver to first step": PHASES[:3]}
    for name, parts in sums.items():
        seconds = [sum(one[part] for part in parts) for one in later]
        at_first = sum(first[part] for part in parts)
        table.add_row(name, f"{at_first:.2f}", f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}")
    table.add_row("a report", "", f"{statistics.median(reports):.2f}", f"{max(reports):.2f}")
    console.print(table)
    table = Table("process", "how many", "median CPU s", title="processes of Ray")
    for name, seconds in sorted(cpu.items()):
        table.add_row(name, str(len(seconds)), f"{statistics.median(seconds):.2f}")
    console.print(table)


if __name__ == "__main__":
    show(*measure(*map(int, [*sys.argv[1:], *("6", "3")[len(sys.argv) - 1 :]])))
