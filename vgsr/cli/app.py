"""What every command shares: the application they register on, and the console they print to."""

import typer
from rich.console import Console

app = typer.Typer(
    help="Vision-guided speaker recognition: a face teacher, a speech student, and their laboratory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()
