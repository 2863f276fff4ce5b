"""The command line.

`vgsr prepare | shard | teach | measure | quality | methods | validate | train | import | embed | evaluate | compare |
robustness | report | board | verify | best | ui`

Each command reads its arguments, calls one room, and prints a table or a line. Rooms are imported inside the commands:
`vgsr --help` and `vgsr validate` must not wait for Ray and MLflow to load. The modules register their commands.
"""

from vgsr.cli import (
    board,
    compare,
    corpus,
    evaluation,
    extraction,
    imported,
    models,
    report,
    robustness,
    shards,
    tracked,
    training,
)
from vgsr.cli.app import app, console
from vgsr.mistakes import told

__all__ = [
    "app",
    "board",
    "compare",
    "corpus",
    "evaluation",
    "extraction",
    "imported",
    "main",
    "models",
    "report",
    "robustness",
    "shards",
    "tracked",
    "training",
]


def main() -> None:
    """Run a command; a mistake of the user's is one red message and exit status 2, not a traceback."""
    with told(console):
        app()
