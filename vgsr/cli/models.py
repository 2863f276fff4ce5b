"""Commands on a finished model: `verify`."""

from pathlib import Path
from typing import Annotated

import typer

from vgsr.cli.app import app, console


@app.command()
def verify(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint folder")],
    enrol: Annotated[Path, typer.Argument(help="recording of the known speaker")],
    test: Annotated[Path, typer.Argument(help="recording to verify")],
    p_target: Annotated[
        float | None, typer.Option(help="prior of `same speaker`; default: equal-error threshold")
    ] = None,
) -> None:
    """Are two recordings of one speaker?"""
    from vgsr import speaker

    model = speaker.load(checkpoint)
    decision = model.verify(enrol, test, p_target)
    said = "[green]same speaker[/green]" if decision.accepted else "[red]different speakers[/red]"
    rule = "equal error" if p_target is None else f"Bayes, p_target {p_target:g}"
    console.print(
        f"score {decision.score:.4f}   threshold {decision.threshold:.4f} ({rule})   "
        f"log-likelihood ratio {decision.llr:+.2f}   {said}",
        soft_wrap=True,
    )
    console.print(f"calibrated on: {model.facts['validation']}", soft_wrap=True)
