"""Runs on the test lists: what was tested before it was stopped is not tested again."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

import vgsr
from vgsr import speaker, tracking
from vgsr.data import manifest as manifests
from vgsr.evaluation import score_files
from vgsr.evaluation.system import Tested
from vgsr.search.front import front, winner
from vgsr.search.plan import Search
from vgsr.tracking import TrackedRun, Tracker

TESTED = "vgsr.tested"  # tag of a run that all of this was done for: how many corpora it was tested on


def conclude(search: Search, tracker: Tracker, parent: str, console: Console) -> None:
    """The end of a search without stage 2."""
    test(search, tracker, chosen(tracking.trials(tracker, parent), search.plan.metrics), console)


def test(search: Search, tracker: Tracker, runs: Sequence[TrackedRun], console: Console) -> None:
    """Log figures on the test lists, and every score, to these runs."""
    settings = search.experiment.evaluate
    tested = [manifests.read(place) for place in settings.manifests or (search.experiment.corpus.manifest,)]
    for run in runs:
        if TESTED in run.tags:  # by an earlier call, which was stopped
            continue
        with console.status(Text(f"testing {run.name}")), tempfile.TemporaryDirectory() as folder:
            model = vgsr.load(run.tags["vgsr.checkpoint"])
            for manifest in tested:
                for one in speaker.evaluate(
                    model, manifest, settings.trials, settings.p_target, namesakes=settings.namesakes
                ):
                    _log(tracker, run, one, Path(folder))
            tracking.attach(tracker, run.run_id, Path(folder), tracking.SCORES)
        tracking.tag(tracker, run.run_id, {TESTED: str(len(tested))})
        if not console.is_terminal:
            console.print(f"{run.name}: tested", soft_wrap=True)


def _log(tracker: Tracker, run: TrackedRun, tested: Tested, folder: Path) -> None:
    result = tested.result
    name = result.protocol.trials.replace("/", "_")
    figures = {f"test_{name}_eer": result.eer}
    figures |= {f"test_{name}_min_dcf_{p:g}": value for p, value in result.min_dcf.items()}
    tracking.log_figures(tracker, run.run_id, figures)
    tracking.tag(tracker, run.run_id, {f"{tracking.PROTOCOL}{name}": result.counted_line()})
    score_files.write(folder / f"{name}.parquet", tested.scores)


def chosen(runs: Sequence[TrackedRun], metrics: Sequence[str]) -> list[TrackedRun]:
    """What a search without stage 2 tests: the completed references, controls among them, and the best trial; with
    several metrics the whole front."""
    best = front(runs, metrics) if len(metrics) > 1 else [winner(runs, metrics)]
    return [run for run in runs if run in best or (run.state == tracking.COMPLETED and "vgsr.reference" in run.tags)]
