"""Commands on finished models and tracked runs: `evaluate`, `verify`, `best`, `ui`."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vgsr.cli.app import app, console


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint folder")],
    manifest: Annotated[Path, typer.Argument(help="folder written by `vgsr prepare`")],
    trials: Annotated[list[str] | None, typer.Option(help="trial lists; default: every one but `validation`")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """EER and minDCF of a checkpoint on trial lists, each with its protocol."""
    from vgsr import speaker
    from vgsr.data import manifest as manifests

    model = speaker.load(checkpoint, device)
    with _progress() as progress:
        task = progress.add_task("embedding", total=None)
        results = model.evaluate(
            manifests.read(manifest),
            trials or (),
            model.experiment.evaluate.p_target,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    for result in results:
        console.print(result.line(), soft_wrap=True)


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


@app.command()
def best(search: Annotated[str | None, typer.Option(help="rank the runs of this search only")] = None) -> None:
    """Find the best completed run and register its checkpoint as the model's champion."""
    from vgsr import tracking

    tracker = tracking.connect()
    run = tracking.best(tracker, search)
    checkpoint = Path(run.tags["vgsr.checkpoint"])
    version = tracking.promote(tracker, run, checkpoint)
    console.print(
        f"{run.name} of {run.tags['vgsr.search']}: validation EER {100 * run.best_val_eer:.2f} % → "
        f"models:/{tracking.MODEL}@{tracking.CHAMPION} (version {version})",
        soft_wrap=True,
    )
    console.print(str(checkpoint), soft_wrap=True)


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on")] = 5000,
) -> None:
    """Open the MLflow UI on the runs of this machine."""
    from vgsr import tracking

    tracking.connect()
    console.print(f"MLflow on http://{host}:{port} (Ctrl-C ends it)")
    command = ["-m", "mlflow", "ui", "--backend-store-uri", tracking.default_uri(), "--host", host, "--port", str(port)]
    os.execv(sys.executable, [sys.executable, *command])


def _progress() -> Progress:
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    return Progress(*columns, console=console)
