"""What scoring a long trial list costs: seconds, CPU seconds and peak memory, each in a process of its own (by hand).

python tests/benchmarks/scoring_speed.py

552,536 trials of 137,924 utterances are the size of VoxCeleb1-H, 6,000 cohort speakers about that of VoxCeleb2. Peak
memory is the process's, its libraries (printed first) and the embeddings themselves (106 MB) included.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from vgsr.evaluation import cohort, score_files, scoring

TRIALS, UTTERANCES, SPEAKERS, TOP, DIMENSION = 552_536, 137_924, 6_000, 300, 192
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def task() -> tuple[np.ndarray, list[str], pa.Table]:
    """Embeddings with 1,251 speakers in them, ids, and a trial list in which no pair is twice."""
    rng = np.random.default_rng(0)
    owner = rng.integers(0, 1_251, UTTERANCES)
    embeddings = rng.standard_normal((UTTERANCES, DIMENSION), np.float32)
    embeddings += rng.standard_normal((1_251, DIMENSION), np.float32)[owner]
    ids = [f"id1{speaker:04d}/session{i:06d}/{i % 100:05d}.wav" for i, speaker in enumerate(owner)]
    pairs = np.unique(rng.integers(0, UTTERANCES**2, TRIALS + 1_000))
    enrol, test = np.divmod(rng.choice(pairs, TRIALS, replace=False), UTTERANCES)
    names = pa.array(ids)
    labels = pa.array((owner[enrol] == owner[test]).astype(np.int8))
    return embeddings, ids, pa.table({"label": labels, "enrol": names.take(enrol), "test": names.take(test)})


def speakers() -> cohort.Cohort:
    rng = np.random.default_rng(1)
    return cohort.Cohort("cohort", rng.standard_normal((SPEAKERS, DIMENSION)), 0.1 * rng.standard_normal(DIMENSION))


def cosine(folder: Path) -> Callable[[], object]:
    embeddings, ids, trials = task()
    return lambda: scoring.cosine_scores(embeddings, ids, trials)


def as_norm(folder: Path) -> Callable[[], object]:
    """Cosine scores and AS-norm of them."""
    (embeddings, ids, trials), against = task(), speakers()

    def work() -> None:
        sides = scoring.sides(embeddings, ids, trials, mean=against.mean)
        cohort.as_norm(scoring.cosine(sides), sides, cohort.statistics(sides, against, TOP))

    return work


def read_text(folder: Path) -> Callable[[], object]:
    path = _written(folder / "read.txt")
    return lambda: score_files.read(path)


def read_parquet(folder: Path) -> Callable[[], object]:
    path = _written(folder / "read.parquet")
    return lambda: score_files.read(path)


def align(folder: Path) -> Callable[[], object]:
    table, trials = score_files.read(_written(folder / "align.parquet")), task()[2]
    return lambda: score_files.align(table, trials)


def nothing(folder: Path) -> Callable[[], object]:
    return lambda: None


def _written(path: Path) -> Path:
    _, _, trials = task()
    nulls = pa.nulls(TRIALS, pa.string())
    scores = pa.array(np.random.default_rng(2).normal(size=TRIALS))
    columns = [*(trials[name] for name in ("label", "enrol", "test")), nulls, nulls, scores]
    score_files.write(path, pa.table(columns, schema=score_files.SCORES))
    return path


WORK = {
    "libraries alone": nothing,
    "cosine": cosine,
    "cosine, AS-norm": as_norm,
    "score file: text": read_text,
    "score file: Parquet": read_parquet,
    "score file: align": align,
}


def measure(name: str) -> None:
    """Print one line about one piece of work, done once in this process."""
    with tempfile.TemporaryDirectory() as folder:
        work = WORK[name](Path(folder))
        wall, used = time.perf_counter(), time.process_time()
        work()
        wall, used = time.perf_counter() - wall, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:24}{wall:8.2f}{used:8.2f}{peak:10,.0f}", flush=True)


def difference() -> None:
    """Print how far single precision moves AS-norm scores, on the first 2,000 trials."""
    (embeddings, ids, trials), against = task(), speakers()
    sides = scoring.sides(embeddings, ids, trials.slice(0, 2_000), mean=against.mean)
    raw = scoring.cosine(sides)
    found = cohort.as_norm(raw, sides, cohort.statistics(sides, against, TOP))
    means = np.asarray(against.means) - against.mean
    cosines = sides.units @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    highest = np.sort(cosines, axis=1)[:, -TOP:]
    exact = cohort.as_norm(raw, sides, cohort.Statistics(highest.mean(axis=1), highest.std(axis=1)))
    moved = np.abs(found - exact).max()
    print(f"\nsingle precision moves scores of {exact.min():.2f} to {exact.max():.2f} by {moved:.1e} at most")


def main() -> None:
    for threads in ("1", "default"):
        alone = {name: threads for name in THREADS} if threads == "1" else {}
        rest = {name: value for name, value in os.environ.items() if name not in THREADS}
        print(f"\n{TRIALS:,} trials, threads: {threads}\n{'':24}{'s':>8}{'CPU s':>8}{'peak MB':>10}", flush=True)
        for name in WORK:
            subprocess.run([sys.executable, __file__, name], env=rest | alone, check=True)
    difference()


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
