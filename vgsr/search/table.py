"""The table of stage 1: its trials, the test figures with their protocol, the best checkpoint."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from vgsr.data import manifest as manifests
from vgsr.data.manifest import Manifest
from vgsr.evaluation.lists import VALIDATION
from vgsr.search.columns import Column, columns, name
from vgsr.search.front import front, winner
from vgsr.search.plan import Search
from vgsr.teachers.coverage import Coverage
from vgsr.tracking import PROTOCOL, TrackedRun, marked


def show(
    search: Search,
    runs: Sequence[TrackedRun],
    teacher_eer: float | None,
    coverage: Coverage | None,
    console: Console,
) -> None:
    """Print it. `teacher_eer` is the teacher's own on the validation list, None where it cannot be told; `coverage`
    that of the training set by the teacher's faces."""
    manifest, settings = manifests.read(search.experiment.corpus.manifest), search.experiment.evaluate
    best, metrics = winner(runs, search.plan.metrics), search.plan.metrics
    note = " — SYNTHETIC corpus, says nothing about people" if manifest.synthetic else ""
    shown = columns(runs, settings.p_target[0], settings.noise is not None)
    if len(metrics) > 1:
        on_front = front(runs, metrics)
        shown.append(Column("front", lambda run: "●" if run in on_front else "", number=False))
    shown.append(Column("state", lambda run: run.state, number=False))
    named = f"{search.search_id}, stage 1" if search.confirms else search.search_id
    title = marked(named, search.experiment.teacher.control) + note
    table = emptied(title, {column.heading: column.number for column in shown})
    for run in runs:
        table.add_row(*(column.cell(run) for column in shown), style="bold" if run is best else "")
    console.print(whole_words(table))
    console.print(_protocol(search, manifest), soft_wrap=True)
    if best is None:
        controls = any(run.is_control for run in runs)
        why = "No trial but controls was completed" if controls else "No trial was completed"
        console.print(f"{why}: there is no best checkpoint.", style="red")
    if coverage is not None:
        console.print(f"The teacher has {coverage}.")
    if teacher_eer is None:
        console.print("The teacher's own EER on this list cannot be told.")
    else:
        console.print(f"The teacher's own EER on this list: {100 * teacher_eer:.2f} %.")
        if best and teacher_eer >= best.best_val_eer:
            console.print("warning: the teacher is no better than the student; it has little to teach", style="red")
    _show_tests(runs, best, settings.p_target, console)
    if best and not search.confirms:
        why = "; of the front, the lowest clean EER" if len(metrics) > 1 else ""
        console.print(f"best checkpoint: {best.tags['vgsr.checkpoint']}{why}", soft_wrap=True)


def _protocol(search: Search, manifest: Manifest) -> str:
    settings = search.experiment.evaluate
    parts = [
        f"EER and minDCF: each trial's best epoch on {manifest.corpus}/{VALIDATION} "
        f"({len(manifest.named_trials(VALIDATION)):,} trials), C_miss = C_fa = 1, cosine, 1 seed."
    ]
    if settings.noise is not None:
        levels = ", ".join(f"{snr:g}" for snr in settings.snr)
        parts.append(
            f"Noisy EER: the same epoch, mean over {levels} dB SNR, both sides of each trial with noise of "
            f"{settings.noise}."
        )
    if len(search.plan.metrics) > 1:
        parts.append("●: on the Pareto front of the completed trials, which no other trial beats in both figures.")
    parts += [
        "Margins are in the method's unit; q: a level of its running distribution.",
        "The lowest of several trials is optimistic: what counts is "
        + ("stage 2." if search.confirms else "the test list."),
    ]
    return " ".join(parts)


def _show_tests(
    runs: Sequence[TrackedRun], best: TrackedRun | None, p_targets: Sequence[float], console: Console
) -> None:
    protocols = {
        key.removeprefix(PROTOCOL): text for run in runs for key, text in run.tags.items() if key.startswith(PROTOCOL)
    }
    if not protocols:
        return
    headings = {"list": False, "trial": False, "EER %": True, **{f"minDCF({p:g})": True for p in p_targets}}
    table = emptied("test lists", headings)
    for tested in sorted(protocols):
        for run in runs:
            eer = run.figures.get(f"test_{tested}_eer")
            if eer is not None:
                costs = [f"{run.figures[f'test_{tested}_min_dcf_{p:g}']:.4f}" for p in p_targets]
                table.add_row(tested, name(run), f"{100 * eer:.2f}", *costs, style="bold" if run is best else "")
        table.add_section()
    console.print(whole_words(table))
    for tested in sorted(protocols):
        console.print(f"{tested}: {protocols[tested]}", soft_wrap=True, highlight=False)


def emptied(title: str, numbers: Mapping[str, bool]) -> Table:
    """An empty table; `numbers`: for each heading whether numbers stand under it."""
    table = Table(title=title, title_justify="left")
    for heading, number in numbers.items():
        table.add_column(heading, justify="right" if number else "left")
    return table


def whole_words(table: Table) -> Table:
    """The table with columns that a narrow console wraps between words and never within one."""
    for column in table.columns:
        column.min_width = max(len(word) for text in (column.header, *column.cells) for word in str(text).split())
    return table
