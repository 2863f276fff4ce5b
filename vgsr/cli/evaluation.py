"""Commands that measure: `evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from vgsr.cli.app import app, console, progress_bar


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
    with progress_bar() as progress:
        task = progress.add_task("embedding", total=None)
        results = speaker.evaluate(
            model,
            manifests.read(manifest),
            trials or (),
            model.experiment.evaluate.p_target,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    for result in results:
        console.print(result.line(), soft_wrap=True)
