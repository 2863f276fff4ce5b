"""One report: a folder with its page, its table of runs and its plots, and the same files in MLflow."""

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from vgsr import style, tracking
from vgsr.config import nearest
from vgsr.evaluation import robustness_plot
from vgsr.report import det, importance, learning, margins, markdown, robustness, runs_table
from vgsr.report.collect import Arm, Benchmark, ReportError, collect
from vgsr.report.page import page
from vgsr.style import Look, Plot
from vgsr.tracking import Tracker

BASELINE = "no teacher"
PAGE, RUNS = "README.md", "runs.parquet"
PLACE = "report"  # among the artifacts of the search's run


def write(tracker: Tracker, search: str, out: Path, baseline: str = BASELINE) -> Path:
    """Make the report of a search in folder `out` and attach it to the search's run; returns the page.

    `baseline`: the arm that gains are told against. What people wrote on the page around its generated part stays, and
    so does every file in `out` that is none of the report's; those are not attached.
    Raises ReportError, or TrackingError with the nearest names, when there is no such search or baseline.
    """
    benchmark = collect(tracker, search)
    against = _baseline(benchmark, baseline)
    controls = [arm.name for arm in benchmark.shown if arm.control != "none"]
    looks = style.looks([arm.name for arm in benchmark.shown], baseline, controls)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        drawn, undrawn = _draw(benchmark, baseline, looks, made)
        (made / PAGE).write_bytes(
            markdown.merged(out / PAGE, search, page(benchmark, against, drawn, undrawn)).encode()
        )
        runs_table.write(benchmark, made / RUNS)
        tracking.attach(tracker, benchmark.search.run_id, made, PLACE)
        out.mkdir(parents=True, exist_ok=True)
        for name in undrawn:  # one of an earlier report that is not drawn any more would be a lie
            for kind in ("png", "pdf"):
                (out / f"{name}.{kind}").unlink(missing_ok=True)
        for file in made.iterdir():
            shutil.copyfile(file, out / file.name)
    return out / PAGE


def _draw(
    benchmark: Benchmark, baseline: str, looks: Mapping[str, Look], folder: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Write all plots there can be into `folder`: name of each → its caption; of the others → why there is none."""
    drawn, undrawn = {}, {}
    with style.styled():
        plots = {
            "margin": margins.plot(benchmark, baseline),
            "learning": learning.plot(benchmark, looks),
            "det": det.plot(benchmark, looks),
            "importance": importance.plot(benchmark),
        }
        for name, plot in plots.items():
            if isinstance(plot, Plot):
                style.save(plot.figure, folder / name)
                drawn[name] = plot.caption
            else:
                undrawn[name] = plot
    for tested in robustness.plotted(benchmark):
        name = re.sub(r"[^\w-]", "-", f"robustness_{tested.trials}")  # a list's name may have dots in it
        robustness_plot.plot(tested.tables, folder / name, {arm: looks[arm] for arm in tested.tables})
        drawn[name] = tested.caption
    return drawn, undrawn


def _baseline(benchmark: Benchmark, name: str) -> Arm | None:
    """The arm; None when it has no completed run, or when a search has no arm of the usual name."""
    arm = benchmark.arm(name)
    if arm is None and name != BASELINE:
        raise ReportError(
            f"search {benchmark.name!r} has no arm {name!r}{nearest(name, [a.name for a in benchmark.arms])}"
        )
    return arm if arm is not None and arm.completed else None
