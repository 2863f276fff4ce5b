"""Commands that judge: `compare`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vgsr.cli.app import app, console
from vgsr.cli.sides import Side, paired, sides

if TYPE_CHECKING:
    from vgsr.evaluation.significance import Comparison

SIDE = "SEARCH/ARM, run ids, or score files (Parquet with speakers); several with commas between them, or a pattern"
HEADINGS = ("list", "A", "B", "A/B − 1, %", "95 % interval", "p", "A is")


@app.command()
def compare(
    runs_a: Annotated[str, typer.Argument(metavar="A", help=f"the system in question: {SIDE}")],
    runs_b: Annotated[str, typer.Argument(metavar="B", help="the baseline, in the same way")],
    trials: Annotated[
        str | None, typer.Option(help="trial list, CORPUS/LIST; default: every one that all have")
    ] = None,
    replicates: Annotated[int, typer.Option(min=100, help="resampled lists")] = 1000,
) -> None:
    """Is A's EER better than B's, or is it chance? A bootstrap over speakers, seeds included, on the same trials."""
    from vgsr.evaluation import significance
    from vgsr.evaluation.significance import SignificanceError

    a, b, lists = sides(runs_a, runs_b, trials)
    together = paired(a, b)
    found: dict[str, Comparison] = {}
    untold: dict[str, str] = {}
    with console.status("resampling"):
        for name in lists:
            try:
                tables = a.tables(name), b.tables(name)
                found[name] = significance.compare(*tables, seeds_paired=together, replicates=replicates)
            except SignificanceError as error:
                untold[name] = str(error)
    for letter, side in (("A", a), ("B", b)):
        console.print(f"{letter}: {_described(side)}", soft_wrap=True, markup=False, highlight=False)
    if found:
        console.print(_table(found))
    for name, comparison in found.items():
        for line in [*_protocols(name, a, b), comparison.basis.line()]:
            console.print(f"{name}: {line}", soft_wrap=True, markup=False, highlight=False)
    for name, why in untold.items():
        console.print(f"{name}: {why}", style="red", soft_wrap=True, markup=False, highlight=False)
    for warning in _warnings(a, b, found):
        console.print(f"warning: {warning}", style="red", soft_wrap=True, markup=False, highlight=False)


def _table(found: "dict[str, Comparison]") -> Table:
    """A row a list; a narrow console breaks names of lists, and other text between words only."""
    rows = [
        (
            name,
            _each(one.eer_a, one.eers_a),
            _each(one.eer_b, one.eers_b),
            f"{100 * one.relative:+.1f}",
            f"{100 * one.low:+.1f} to {100 * one.high:+.1f}",
            "< 0.001" if one.p < 0.001 else f"{one.p:.3f}",
            one.verdict,
        )
        for name, one in found.items()
    ]
    table = Table(title="A against B: EER % (of each seed)", title_justify="left")
    table.add_column(HEADINGS[0], overflow="fold")
    for heading, *cells in list(zip(HEADINGS, *rows, strict=True))[1:]:
        longest = max(len(word) for text in (heading, *cells) for word in text.split())
        table.add_column(heading, justify="left" if heading == HEADINGS[-1] else "right", min_width=longest)
    for row in rows:
        table.add_row(*row)
    return table


def _each(mean: float, eers: Sequence[float]) -> str:
    """The mean, and the EER of each seed where there are several, in per cent."""
    seeds = f" ({', '.join(f'{100 * eer:.2f}' for eer in eers)})" if len(eers) > 1 else ""
    return f"{100 * mean:.2f}{seeds}"


def _described(side: Side) -> str:
    """What a side was found to be."""
    if not side.runs:
        files = [file.name for files in side.files.values() for file in files]
        return f"{side.text} · score files {', '.join(files)}"
    from vgsr.tracking import marked

    names = {marked(run.arm, run.tags.get("vgsr.control", "none")): None for run in side.runs}
    count = "1 run" if len(side.runs) == 1 else f"{len(side.runs)} runs"
    return f"{', '.join(names)} · {count} of seed {', '.join(map(str, side.seeds))} ({side.text})"


def _protocols(name: str, a: Side, b: Side) -> list[str]:
    """By which protocol A and B were measured on a list: one line where it is the same."""
    lines: dict[str, list[str]] = {}
    for letter, side in (("A", a), ("B", b)):
        for line in side.protocols(name):
            lines.setdefault(line, []).append(letter)
    return [f"{' and '.join(letters)}: {line}" for line, letters in lines.items()]


def _warnings(a: Side, b: Side, found: "dict[str, Comparison]") -> list[str]:
    """What a reader of the table must know."""
    said = []
    for letter, side in (("A", a), ("B", b)):
        if side.seeds_differ_by:
            said.append(
                f"the runs of {letter} are not seeds of one system: they differ in {', '.join(side.seeds_differ_by)}"
            )
    for name, one in found.items():
        if a.runs and b.runs and len(_protocols(name, a, b)) > 1:
            said.append(f"{name}: the runs were measured by different protocols: do not compare them")
        said += [f"{name}: {warning}" for warning in one.basis.warnings]
    if len(found) > 1:
        said.append(
            f"{len(found)} lists were tested, each on its own, with no correction: of 20 comparisons of equal systems "
            "one has p < 0.05"
        )
    return said
