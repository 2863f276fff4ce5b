"""Commands that make and look at what a training learns from: `prepare`, `quality`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from vgsr.cli.app import app, console
from vgsr.cli.problems import print_problems


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help="ravdess, avspeech, folder or synthetic")],
    places: Annotated[list[str], typer.Argument(help="ROOT OUT (synthetic: only OUT), then options like speakers=50")],
    validation: Annotated[float | None, typer.Option(help="share of speakers held out for validation")] = None,
    test: Annotated[float | None, typer.Option(help="share of speakers held out for the test lists")] = None,
    seed: Annotated[int, typer.Option(help="decides the splits and trial lists")] = 0,
    dnsmos: Annotated[
        bool, typer.Option(help="rate the speech too (signal speech_dnsmos): about a second a clip")
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
        **options,
    )
    table = Table("split", "speakers", "utterances", "hours", "faces", title=f"{corpus} → {folders[-1]}")
    for count in report.counts:
        table.add_row(
            count.split, f"{count.speakers:,}", f"{count.utterances:,}", f"{count.hours:.2f}", f"{count.faces:,}"
        )
    console.print(table)
    for name, (targets, nontargets) in report.trials.items():
        console.print(f"trials {name}: {targets:,} target, {nontargets:,} non-target")
    if report.manifest.synthetic:
        console.print("This corpus is SYNTHETIC: figures from it say nothing about people.")
    if report.bank:
        console.print(f"teacher bank: {report.bank}", soft_wrap=True)
    print_problems([(problem.uri, problem.reason) for problem in report.problems])
    console.print(f"digest {report.manifest.digest[:12]}")


@app.command()
def quality(
    manifest: Annotated[Path, typer.Argument(help="folder written by `vgsr prepare`")],
    bank: Annotated[Path | None, typer.Option(help="teacher bank; default: the only one in MANIFEST/banks")] = None,
    out: Annotated[Path | None, typer.Option(help="folder of the contact sheets; default: MANIFEST/quality")] = None,
) -> None:
    """Show the quality signals: distributions, the best and worst utterances, contact sheets of faces."""
    from vgsr.quality import show

    show(manifest, bank, out, console)
