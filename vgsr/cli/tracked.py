"""Commands on tracked runs: `best`, `serve`, `ui`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vgsr.cli.app import app, console


@app.command()
def best(search: Annotated[str | None, typer.Option(help="rank the runs of this search only")] = None) -> None:
    """Make the completed run with the lowest validation EER the champion, by your own decision.

    A search with a second stage decides this itself, by a comparison with no teacher on the test lists.
    """
    from vgsr import fetch, tracking

    tracker = tracking.connect()
    run = tracking.best(tracker, search)
    checkpoint = fetch.checkpoint(f"runs:/{run.run_id}")
    among = f"search {search}" if search else "all searches"
    reason = (
        f"Promoted by hand with `vgsr best`: the lowest validation EER, {100 * run.best_val_eer:.2f} %, of the "
        f"completed runs of {among}. {tracking.evidence(tracker, run)}"
    )
    version = tracking.promote(tracker, run, checkpoint, reason=reason, champion=True)
    console.print(
        f"{run.name} of {run.tags['vgsr.search']}: validation EER {100 * run.best_val_eer:.2f} % → "
        f"models:/{tracking.MODEL}@{tracking.CHAMPION} (version {version})",
        soft_wrap=True,
    )
    console.print(reason, soft_wrap=True, markup=False, highlight=False)
    console.print(str(checkpoint), soft_wrap=True)


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS or models:/NAME/VERSION")] = "models:/vgsr@champion",
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on")] = 5001,
) -> None:
    """Serve a registered model over HTTP with MLflow: POST rows of base64 audio to /invocations."""
    from vgsr import tracking
    from vgsr.tracking import trusted

    tracker = tracking.connect()
    trusted.check(tracker, tracking.registered(tracker, model))
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

    tracker = tracking.connect()
    if tracker.uri.startswith("http"):
        console.print(f"MLflow runs already: {tracking.link(tracker, tracker.shown)}", soft_wrap=True)
        return
    console.print(f"MLflow on {tracking.link(tracker, f'http://{host}:{port}')} (Ctrl-C ends it)", soft_wrap=True)
    command = ["-m", "mlflow", "ui", "--host", host, "--port", str(port)]
    # Not as an argument, which everybody on this machine can read: a database's URI may hold its password.
    surroundings = {**os.environ, "MLFLOW_BACKEND_STORE_URI": tracking.default_uri()}
    os.execve(sys.executable, [sys.executable, *command], surroundings)
