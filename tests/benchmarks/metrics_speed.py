"""Seconds for EER and two minDCF of 552,536 simulated trials, the size of VoxCeleb1-H (run by hand).

python tests/benchmarks/metrics_speed.py
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from vgsr.evaluation.calibration import fit
from vgsr.evaluation.metrics import operating_points
from vgsr.evaluation.scoring import cosine_scores

TRIALS = 552_536
RUNS = 5


def seconds(work: Callable[[], object]) -> float:
    """Median of RUNS wall-clock times."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(TRIALS) < 0.5
    scores = rng.normal(size=TRIALS) + 4.0 * labels
    tied = scores.round(2)
    ids = [f"id{i:05d}/session/{i:05d}.wav" for i in range(137_924)]
    embeddings = rng.normal(size=(len(ids), 192)).astype(np.float32)
    pairs = rng.integers(0, len(ids), size=(2, TRIALS))
    names = pa.array(ids)
    trials = pa.table({"label": labels.astype(np.int8), "enrol": names.take(pairs[0]), "test": names.take(pairs[1])})

    def figures(values: np.ndarray) -> tuple[float, float, float]:
        points = operating_points(values, labels)
        return points.eer().value, points.min_dcf(0.01).value, points.min_dcf(0.05).value

    print(f"{TRIALS:,} trials, median of {RUNS}, seconds")
    print(f"EER + 2 minDCF, distinct scores  {seconds(lambda: figures(scores)):.3f}")
    print(f"EER + 2 minDCF, tied scores      {seconds(lambda: figures(tied)):.3f}")
    print(f"calibration fit                  {seconds(lambda: fit(scores, labels)):.3f}")
    print(f"cosine scores, 192-d float32     {seconds(lambda: cosine_scores(embeddings, ids, trials)):.3f}")


if __name__ == "__main__":
    main()
