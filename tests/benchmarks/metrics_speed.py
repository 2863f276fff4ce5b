"""What every figure of a long trial list costs: CPU seconds, times one sort, and memory (run by hand).

OMP_NUM_THREADS=1 python tests/benchmarks/metrics_speed.py

552,536 trials is the size of VoxCeleb1-H. CPU seconds count all threads, so that neither a second core nor a
busy machine changes them much.
"""

import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from vgsr.evaluation import calibration, logistic
from vgsr.evaluation.cllr import cllr, least_cllr, min_cllr
from vgsr.evaluation.metrics import operating_points
from vgsr.evaluation.scoring import cosine_scores

TRIALS = (552_536, 1_000_000)
RUNS = 5
SCORES = {"distinct": 12, "to 2 decimals": 2}


def simulated(trials: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores [T], normal and four deviations apart, rounded so that they are tied or not; labels bool [T]."""
    rng = np.random.default_rng(0)
    labels = rng.random(trials) < 0.5
    return (rng.normal(size=trials) + 4.0 * labels).round(decimals), labels


def seconds(work: Callable[[], object], runs: int = RUNS) -> float:
    """Median CPU time, after one call that warms up."""
    work()
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def megabytes(work: Callable[[], object]) -> float:
    """Most memory that numpy and Python held at once beyond what was held before."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def eer_and_costs(scores: np.ndarray, labels: np.ndarray, p_targets: tuple[float, ...] = (0.01, 0.05)) -> list[float]:
    """EER, and a minDCF for every prior."""
    points = operating_points(scores, labels)
    return [points.eer().value, *(points.min_dcf(p).value for p in p_targets)]


def figures(scores: np.ndarray, labels: np.ndarray) -> dict[str, Callable[[], object]]:
    """What is timed. Those of `points` share its sort and are timed without it."""
    points = operating_points(scores, labels)
    llrs = 4.0 * scores - 8.0
    more = np.stack([scores, np.sin(scores), np.cos(scores)], axis=1)
    return {
        "one sort": lambda: np.argsort(scores),
        "EER + 2 minDCF": lambda: eer_and_costs(scores, labels),
        "EER + 6 minDCF": lambda: eer_and_costs(scores, labels, (0.001, 0.005, 0.01, 0.05, 0.1, 0.5)),
        "minCllr": lambda: min_cllr(scores, labels),
        "Cllr": lambda: cllr(llrs, labels),
        "points: actDCF": lambda: points.act_dcf(0.01),
        "points: minCllr": lambda: least_cllr(points),
        f"points: DET, {len(points.det().miss):,} kept": points.det,
        "calibration": lambda: calibration.fit(scores, labels),
        "regression on 3 features": lambda: logistic.fit(more, labels),
    }


def cosine(trials: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    ids = [f"id{i:05d}/session/{i:05d}.wav" for i in range(trials // 4)]
    embeddings = rng.normal(size=(len(ids), 192)).astype(np.float32)
    pairs = rng.integers(0, len(ids), size=(2, trials))
    names = pa.array(ids)
    labels = pa.array(np.zeros(trials, np.int8))
    table = pa.table({"label": labels, "enrol": names.take(pairs[0]), "test": names.take(pairs[1])})
    return lambda: cosine_scores(embeddings, ids, table)


def main() -> None:
    for trials in TRIALS:
        for kind, decimals in SCORES.items():
            print(f"\n{trials:,} trials, scores {kind}; median of {RUNS}")
            print(f"{'':30}{'CPU s':>8}{'× sort':>9}{'peak MB':>9}")
            sort = None
            for name, work in figures(*simulated(trials, decimals)).items():
                took = seconds(work)
                sort = sort or took
                print(f"{name:30}{took:8.3f}{took / sort:9.1f}{megabytes(work):9.0f}")
    print(f"\ncosine scores of {TRIALS[0]:,} trials, 192-d float32: {seconds(cosine(TRIALS[0])):.3f} CPU s")


if __name__ == "__main__":
    main()
