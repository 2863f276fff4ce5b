"""`board`: the leaderboard of a running search."""

import os
import time
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live

from vgsr.cli.app import app, console

REFRESH_SECONDS = 3.0
# A server that does not answer is told at once and asked again; MLflow alone would ask and wait for a minute.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


@app.command()
def board(
    search: Annotated[
        str | None, typer.Argument(help="a search or a training; the latest search when none is named")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="print it and end; so does an output that is no terminal")
    ] = False,
) -> None:
    """The live leaderboard of a running search, from MLflow, until the search ends (or Ctrl-C, which leaves it alone).

    Best validation EER first; what a person wants to see first has columns as far as the terminal is wide.
    """
    for name, value in IMPATIENT.items():
        os.environ.setdefault(name, value)
    from vgsr import tracking
    from vgsr.search import board as boards

    tracker = tracking.connect_existing()
    found = boards.read(tracker, search)
    if once or not console.is_terminal:
        console.print(boards.picture(found, console.width))
        return
    # Another search that starts meanwhile is not this one.
    search, trouble = found.search.run_id if found.search else search, ""

    def now() -> Group:
        return boards.picture(found, console.width, console.height, trouble)

    with Live(get_renderable=now, console=console, refresh_per_second=1) as live:
        try:
            while not found.over:
                time.sleep(REFRESH_SECONDS)
                try:
                    found, trouble = boards.read(tracker, search), ""
                except Exception as error:  # whatever a server or a network can do: the last picture stays
                    since = time.strftime("%H:%M:%S", time.localtime(found.taken))
                    reason = (str(error).splitlines() or [type(error).__name__])[0]
                    trouble = f"MLflow does not answer; this is what it said at {since} ({reason[:150]})"
                live.refresh()
        except KeyboardInterrupt:
            pass
