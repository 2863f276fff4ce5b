"""The end of a search: the best checkpoint, and the references and it on the test lists."""

from collections.abc import Sequence

from rich.console import Console

from vgsr import speaker, tracking
from vgsr.data import manifest as manifests
from vgsr.search.plan import Search
from vgsr.tracking import TrackedRun, Tracker

PROTOCOL = "vgsr.protocol."  # tags of a run that say by which protocol the figures `test_LIST_…` were measured


def winner(runs: Sequence[TrackedRun]) -> TrackedRun | None:
    """The completed run with the lowest validation EER; None when none was completed."""
    completed = [run for run in runs if run.state == tracking.COMPLETED]
    return min(completed, key=lambda run: run.best_val_eer, default=None)


def test(search: Search, tracker: Tracker, runs: Sequence[TrackedRun], console: Console) -> None:
    """Log figures of the winner and of the completed references on the test lists to their runs."""
    best = winner(runs)
    chosen = [run for run in runs if run is best or (run.state == tracking.COMPLETED and "vgsr.reference" in run.tags)]
    settings = search.experiment.evaluate
    tested = [manifests.read(place) for place in settings.manifests or (search.experiment.corpus.manifest,)]
    for run in chosen:
        with console.status(f"testing {run.name}"):
            model = speaker.load(run.tags["vgsr.checkpoint"])
            results = [
                result for manifest in tested for result in model.evaluate(manifest, settings.trials, settings.p_target)
            ]
        for result in results:
            name = result.protocol.trials.replace("/", "_")
            figures = {f"test_{name}_eer": result.eer}
            figures |= {f"test_{name}_min_dcf_{p:g}": value for p, value in result.min_dcf.items()}
            tracking.log_figures(tracker, run.run_id, figures)
            counts = f"{result.targets:,} target and {result.nontargets:,} non-target trials"
            tracking.tag(tracker, run.run_id, {f"{PROTOCOL}{name}": f"{counts} · {result.protocol.line()}"})
