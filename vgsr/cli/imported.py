"""Models of other toolkits: `import`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vgsr.cli.app import app, console


class Toolkit(StrEnum):
    """What `vgsr import` takes."""

    WESPEAKER = "wespeaker"
    SPEAKERLAB = "3dspeaker"


@app.command(name="import")
def import_(
    toolkit: Annotated[Toolkit, typer.Argument(help="whose checkpoint it is")],
    checkpoint: Annotated[Path, typer.Argument(help="its .pt, .bin or .ckpt file; nothing in it is run")],
    out: Annotated[Path, typer.Argument(help="the folder to write: a model, and a start for training")],
    backbone: Annotated[
        str | None, typer.Option(help="what it must be, such as campplus, resnet34, ecapa; default: what it is")
    ] = None,
) -> None:
    """Turn a published checkpoint of WeSpeaker or 3D-Speaker into a model of ours.

    `student.start: OUT` lets a training begin with it; `vgsr evaluate` and `vgsr embed` take it as it is.
    """
    from vgsr.speaker import importing

    made = importing.import_checkpoint(toolkit.value, checkpoint, out, backbone)
    said = made.settings
    console.print(f"{made.folder}: {said.backbone}, {made.parameters / 1e6:.2f} M parameters", soft_wrap=True)
    if made.left_out:
        console.print(f"left out, as training alone needs them: {', '.join(made.left_out)}", soft_wrap=True)
    if made.features:
        console.print(f"its toolkit computes features in another way: {made.features}", soft_wrap=True)
    console.print(
        "Its scores are plain cosines: it has no calibration, and nobody knows on whom it was trained. To train on "
        f"from it:\nstudent: {{backbone: {said.backbone}, channels: {said.channels}, embedding: {said.embedding}, "
        f"pooling: {said.pooling}, start: {made.folder.absolute()}}}",
        soft_wrap=True,
    )
