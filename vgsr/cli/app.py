"""What every command shares: the application they register on, the console they print to, a bar for long work."""

from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vgsr.mistakes import PlainConsole

app = typer.Typer(
    help="Vision-guided speaker recognition: a face teacher, a speech student, and their laboratory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = PlainConsole()


def progress_bar() -> Progress:
    """A bar that tells how many of how many are done, and how long the rest will take."""
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    return Progress(*columns, console=console)
