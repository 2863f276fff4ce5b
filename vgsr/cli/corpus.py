"""Commands that make and look at what a training learns from: `prepare`, `quality`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperArgument, TyperCommand

from vgsr.cli.app import app, console
from vgsr.cli.problems import print_problems

if TYPE_CHECKING:
    from vgsr.corpora.published import Compared


class Prepare(TyperCommand):
    """`vgsr prepare`, whose help names the corpora; they load no sooner, since every other command does without."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from vgsr.corpora import CORPORA

        for parameter in self.params:
            if isinstance(parameter, TyperArgument) and parameter.name == "corpus":
                parameter.help = f"one of {', '.join(sorted(CORPORA))}"
        super().format_help(ctx, formatter)


@app.command(cls=Prepare)
def prepare(
    corpus: Annotated[str, typer.Argument()],
    places: Annotated[
        list[str],
        typer.Argument(help="ROOT OUT (synthetic: only OUT; OUT may be s3://…), then options like speakers=50"),
    ],
    validation: Annotated[float | None, typer.Option(help="share of speakers held out for validation")] = None,
    test: Annotated[float | None, typer.Option(help="share of speakers held out for the test lists")] = None,
    seed: Annotated[int, typer.Option(help="decides the splits and trial lists")] = 0,
    dnsmos: Annotated[
        bool, typer.Option("--dnsmos", help="rate the speech too (signal speech_dnsmos): about a second a clip")
    ] = False,
    unmeasured: Annotated[
        bool,
        typer.Option("--unmeasured", help="decode no audio: `vgsr measure` adds the speech signals, on many cores"),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="write nothing where a count differs from the published one")
    ] = False,
) -> None:
    """Read a corpus in its published layout and write its manifest."""
    from vgsr import config, corpora

    # Options of the corpus itself come among the places, as name=value.
    folders = [place for place in places if "=" not in place]
    needed = 2 if corpora.find(corpus).needs_root else 1
    if len(folders) != needed:
        raise config.ConfigError(
            f"corpus {corpus!r} takes {'ROOT OUT' if needed == 2 else 'OUT'}, not {len(folders)} paths"
        )
    options = config.parse_overrides(place for place in places if "=" in place)
    report = corpora.prepare(
        corpus,
        folders[0] if needed == 2 else None,
        folders[-1],
        validation=validation,
        test=test,
        seed=seed,
        dnsmos=dnsmos,
        measure=not unmeasured,
        strict=strict,
        **options,
    )
    table = Table("split", "speakers", "utterances", "hours", "faces", title=f"{corpus} → {folders[-1]}")
    for count in report.counts:
        table.add_row(
            count.split, f"{count.speakers:,}", f"{count.utterances:,}", f"{count.hours:.2f}", f"{count.faces:,}"
        )
    console.print(table)
    _print_published(report.published)
    for name, (targets, nontargets) in report.trials.items():
        console.print(f"trials {name}: {targets:,} target, {nontargets:,} non-target")
    if report.manifest.synthetic:
        console.print("This corpus is SYNTHETIC: figures from it say nothing about people.")
    if report.bank:
        console.print(f"teacher bank: {report.bank}", soft_wrap=True)
    print_problems([(problem.uri, problem.reason) for problem in report.problems])
    console.print(f"digest {report.manifest.digest[:12]}")


def _print_published(published: "tuple[Compared, ...]") -> None:
    """Published counts beside what was found; nothing for a corpus of which none are published."""
    if not published:
        return
    table = Table("count", title="against what is published")
    for head in ("published", "found", "difference"):
        table.add_column(head, justify="right")
    for each in published:
        difference = f"{each.difference:+,}" if each.difference else "0"
        cells = (each.what, f"{each.published:,}", f"{each.found:,}", difference)
        table.add_row(*cells, style="yellow" if each.difference else None)
    console.print(table)


@app.command()
def quality(
    manifest: Annotated[str, typer.Argument(help="folder written by `vgsr prepare`, or s3://…")],
    bank: Annotated[str | None, typer.Option(help="teacher bank; default: the only one in MANIFEST/banks")] = None,
    out: Annotated[Path | None, typer.Option(help="folder of the contact sheets; default: MANIFEST/quality")] = None,
) -> None:
    """Show the quality signals: distributions, the best and worst utterances, contact sheets of faces."""
    from vgsr.quality import show

    show(manifest, bank, out, console)
