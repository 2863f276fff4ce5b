"""Commands on tracked runs: `best`, `serve`, `ui`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vgsr.cli.app import app, console


@app.command()
def best(search: Annotated[str | None, typer.Option(help="rank the runs of this search only")] = None) -> None:
    """Find the best completed run and register its checkpoint as the model's champion."""
    from vgsr import fetch, tracking

    tracker = tracking.connect()
    run = tracking.best(tracker, search)
    checkpoint = fetch.checkpoint(f"runs:/{run.run_id}")
    version = tracking.promote(tracker, run, checkpoint)
    console.print(
        f"{run.name} of {run.tags['vgsr.search']}: validation EER {100 * run.best_val_eer:.2f} % → "
        f"models:/{tracking.MODEL}@{tracking.CHAMPION} (version {version})",
        soft_wrap=True,
    )
    console.print(str(checkpoint), soft_wrap=True)


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS or models:/NAME/VERSION")] = "models:/vgsr@champion",
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on")] = 5001,
) -> None:
    """Serve a registered model over HTTP with MLflow: POST rows of base64 audio to /invocations."""
    from vgsr import tracking

    tracker = tracking.connect()
    tracking.registered(tracker, model)
    console.print(f"{model} on http://{host}:{port}/invocations (Ctrl-C ends it)", soft_wrap=True)
    command = ["-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local"]
    # MLflow starts its server by name: it must find the one beside this Python, activated or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    surroundings = {**os.environ, "MLFLOW_TRACKING_URI": tracker.uri, "PATH": path}
    command += ["--host", host, "--port", str(port)]
    os.execve(sys.executable, [sys.executable, *command], surroundings)


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
