"""Commands that publish: `report`."""

from pathlib import Path
from typing import Annotated

import typer

from vgsr.cli.app import app, console


@app.command()
def report(
    search: Annotated[str, typer.Argument(help="name of a tracked search")],
    out: Annotated[Path | None, typer.Option(help="folder to write; default: results/SEARCH")] = None,
    baseline: Annotated[str, typer.Option(help="the arm that gains are told against")] = "no teacher",
) -> None:
    """Write a search's leaderboard, tables and plots for people to read, and attach them to it in MLflow."""
    from vgsr import report as reports
    from vgsr import tracking

    page = reports.write(tracking.connect(), search, out or Path("results") / search, baseline)
    console.print(f"report: {page}", soft_wrap=True, highlight=False)
