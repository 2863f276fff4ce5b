"""Commands on tracked runs: `best`, `ui`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vgsr.cli.app import app, console


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
