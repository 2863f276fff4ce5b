"""The end of a search: the best checkpoint, the references and it on the test lists, and the table."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vgsr import speaker, tracking
from vgsr.data import manifest as manifests
from vgsr.search.plan import Search
from vgsr.tracking import TrackedRun, Tracker


def winner(runs: Sequence[TrackedRun]) -> TrackedRun | None:
    """The completed run with the lowest validation EER; None when none was completed."""
    completed = [run for run in runs if run.state == tracking.COMPLETED]
    return min(completed, key=lambda run: run.best_val_eer, default=None)


RESULT = "vgsr.test."  # tags of a run that hold a test list's figures with their protocol


def test(search: Search, tracker: Tracker, runs: Sequence[TrackedRun], console: Console) -> None:
    """Log figures of the winner and of the completed references on the test lists to their runs."""
    best = winner(runs)
    chosen = [run for run in runs if run is best or (run.state == tracking.COMPLETED and "vgsr.reference" in run.tags)]
    settings = search.experiment.evaluate
    places = settings.manifests or (search.experiment.corpus.manifest,)
    for run in chosen:
        with console.status(f"testing {run.name}"):
            model = speaker.load(run.tags["vgsr.checkpoint"])
            results = [
                result
                for place in places
                for result in model.evaluate(manifests.read(place), settings.trials, settings.p_target)
            ]
        for result in results:
            name = result.protocol.trials.replace("/", "_")
            figures = {f"test_{name}_eer": result.eer}
            figures |= {f"test_{name}_min_dcf_{p:g}": value for p, value in result.min_dcf.items()}
            tracking.log_figures(tracker, run.run_id, figures)
            tracking.tag(tracker, run.run_id, {f"{RESULT}{name}": result.line()})


def show(search: Search, runs: Sequence[TrackedRun], teacher_eer: float | None, console: Console) -> None:
    """Print the table of all trials, the test figures with their protocol, and the best checkpoint's path.

    `teacher_eer` is the teacher's own on the validation list, None where it cannot be told.
    """
    manifest = manifests.read(search.experiment.corpus.manifest)
    p_target = search.experiment.evaluate.p_target[0]
    note = " — SYNTHETIC corpus, says nothing about people" if manifest.synthetic else ""
    table = Table(title=f"{search.search_id}{note}", title_justify="left")
    table.add_column("trial")
    for heading in ("margin", "λ", "EER %", f"minDCF({p_target:g})", "active %", "epochs", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("state")
    best = winner(runs)
    for run in runs:
        table.add_row(*_cells(run, p_target), style="bold" if run is best else "")
    console.print(table)
    console.print(
        f"EER and minDCF: each trial's best epoch on {manifest.corpus}/validation "
        f"({len(manifest.named_trials('validation')):,} trials), cosine, 1 seed. "
        "Margins are in the method's unit; q: a level of its running distribution. "
        "The lowest of several trials is optimistic: what counts is the test list.",
        soft_wrap=True,
    )
    if best is None:
        console.print("[red]No trial was completed: there is no best checkpoint.[/red]")
        return
    if teacher_eer is None:
        console.print("The teacher's own EER on this list cannot be told.")
    else:
        console.print(f"The teacher's own EER on this list: {100 * teacher_eer:.2f} %.")
        if teacher_eer >= best.best_val_eer:
            console.print("[red]warning: the teacher is no better than the student; it has little to teach[/red]")
    for run in runs:
        for key in sorted(run.tags):
            if key.startswith(RESULT):
                console.print(f"[bold]{run.name}[/bold]: {run.tags[key]}", soft_wrap=True, highlight=False)
    console.print(f"best checkpoint: {Path(best.tags['vgsr.checkpoint'])}", soft_wrap=True)


def _cells(run: TrackedRun, p_target: float) -> list[str]:
    figures, distilled = run.figures, run.params.get("distill.method", "none") != "none"
    eer = figures.get("best_val_eer")
    cost = figures.get(f"best_val_min_dcf_{p_target:g}")
    return [
        run.name if "vgsr.reference" in run.tags else run.tags.get("vgsr.trial", "")[-5:],
        _margin(run) if distilled else "–",
        f"{float(run.params['distill.weight']):.2f}" if distilled else "0",
        "" if eer is None else f"{100 * eer:.2f}",
        "" if cost is None else f"{cost:.3f}",
        f"{100 * figures['active']:.0f}" if distilled and "active" in figures else "–",
        f"{int(figures.get('epoch', 0))}",
        f"{figures.get('total_seconds', 0):.0f}",
        run.state,
    ]


def _margin(run: TrackedRun) -> str:
    quantile = run.params["distill.margin.unit"] == "quantile"
    return f"{'q ' if quantile else ''}{float(run.params['distill.margin.value']):.3f}"
