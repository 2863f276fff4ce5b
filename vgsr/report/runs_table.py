"""runs.parquet: one row a run, with everything a table or plot of the report was made from but the curves.

Columns: name, arm, seed, state, reason, control, searched, seconds, run_id, then every parameter as `params.KEY`
(text, folders left out) and every figure as `figures.KEY` (its last value; EER in [0, 1]), null where a run has none.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vgsr.report.collect import Benchmark
from vgsr.report.settings import parameters, without_folders


def rows(benchmark: Benchmark) -> pa.Table:
    """The table, arm by arm and by seed."""
    runs = [(arm, run) for arm in benchmark.arms for run in arm.runs]
    params = [parameters(run) for _, run in runs]
    columns: dict[str, pa.Array] = {
        "name": pa.array([run.name for _, run in runs], pa.string()),
        "arm": pa.array([arm.name for arm, _ in runs], pa.string()),
        "seed": pa.array([run.seed for _, run in runs], pa.int64()),
        "state": pa.array([run.state for _, run in runs], pa.string()),
        "reason": pa.array([without_folders(run.tags.get("vgsr.reason", "")) for _, run in runs], pa.string()),
        "control": pa.array([run.tags.get("vgsr.control", "none") for _, run in runs], pa.string()),
        "searched": pa.array([arm.searched for arm, _ in runs], pa.bool_()),
        "seconds": pa.array([run.seconds for _, run in runs], pa.float64()),
        "run_id": pa.array([run.run_id for _, run in runs], pa.string()),
    }
    for key in sorted({key for own in params for key in own}):
        columns[f"params.{key}"] = pa.array([own.get(key) for own in params], pa.string())
    for key in sorted({key for _, run in runs for key in run.figures}):
        columns[f"figures.{key}"] = pa.array([run.figures.get(key) for _, run in runs], pa.float64())
    return pa.table(columns)


def write(benchmark: Benchmark, place: Path) -> None:
    """Write it."""
    pq.write_table(rows(benchmark), place, compression="zstd")
