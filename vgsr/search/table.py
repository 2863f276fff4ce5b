"""The table of a search: its trials, the test figures with their protocol, the best checkpoint."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from vgsr.data import manifest as manifests
from vgsr.search.conclude import PROTOCOL, winner
from vgsr.search.plan import Search
from vgsr.tracking import TrackedRun
from vgsr.training.validation import LIST


def show(search: Search, runs: Sequence[TrackedRun], teacher_eer: float | None, console: Console) -> None:
    """Print it. `teacher_eer` is the teacher's own on the validation list, None where it cannot be told."""
    manifest = manifests.read(search.experiment.corpus.manifest)
    p_targets, best = search.experiment.evaluate.p_target, winner(runs)
    note = " — SYNTHETIC corpus, says nothing about people" if manifest.synthetic else ""
    table = _table(
        f"{search.search_id}{note}",
        ["trial"],
        ["margin", "λ", "EER %", *_costs(p_targets[:1]), "active %", "epochs", "seconds"],
    )
    table.add_column("state")
    for run in runs:
        table.add_row(*_trial(run, p_targets[0]), style="bold" if run is best else "")
    console.print(table)
    console.print(
        f"EER and minDCF: each trial's best epoch on {manifest.corpus}/{LIST} "
        f"({len(manifest.named_trials(LIST)):,} trials), C_miss = C_fa = 1, cosine, 1 seed. "
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
    _show_tests(runs, best, p_targets, console)
    console.print(f"best checkpoint: {best.tags['vgsr.checkpoint']}", soft_wrap=True)


def _show_tests(runs: Sequence[TrackedRun], best: TrackedRun, p_targets: Sequence[float], console: Console) -> None:
    protocols = {key.removeprefix(PROTOCOL): text for key, text in best.tags.items() if key.startswith(PROTOCOL)}
    if not protocols:
        return
    table = _table("test lists", ["list", "trial"], ["EER %", *_costs(p_targets)])
    for name in sorted(protocols):
        for run in runs:
            eer = run.figures.get(f"test_{name}_eer")
            if eer is not None:
                costs = [f"{run.figures[f'test_{name}_min_dcf_{p:g}']:.4f}" for p in p_targets]
                table.add_row(name, _name(run), f"{100 * eer:.2f}", *costs, style="bold" if run is best else "")
        table.add_section()
    console.print(table)
    for name in sorted(protocols):
        console.print(f"{name}: {protocols[name]}", soft_wrap=True, highlight=False)


def _table(title: str, words: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in words:
        table.add_column(heading)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _costs(p_targets: Sequence[float]) -> list[str]:
    return [f"minDCF({p:g})" for p in p_targets]


def _name(run: TrackedRun) -> str:
    return run.name if "vgsr.reference" in run.tags else run.tags["vgsr.trial"]


def _trial(run: TrackedRun, p_target: float) -> list[str]:
    figures, distilled = run.figures, run.params.get("distill.method", "none") != "none"
    eer = figures.get("best_val_eer")
    cost = figures.get(f"best_val_min_dcf_{p_target:g}")
    return [
        _name(run),
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
