"""What Ray costs a trial: its wall time in a finished search against the seconds that its loop worked.

    python tests/benchmarks/trial_overhead.py SEARCH_ID    # as `margin_search.py` prints it

A trial's wall time runs from Tune starting it to Tune hearing of its end; the loop's seconds are those of its epochs,
validation included. The bare loop with the same settings takes the latter.
"""

import statistics
import sys

from rich.console import Console
from rich.table import Table

from vgsr import tracking


def main(search: str) -> None:
    """Print the table of one search."""
    tracker = tracking.connect()
    parent = tracking.search_run(tracker, search)
    if parent is None:
        raise SystemExit(f"no search {search!r} in {tracker.uri}")
    table = Table("trial", "state", "epochs", "wall s", "loop s", "overhead s")
    overheads = []
    for run in tracking.trials(tracker, parent):
        loop = run.figures.get("total_seconds", 0.0)
        overheads.append(run.seconds - loop)
        cells = [f"{value:.1f}" for value in (run.seconds, loop, overheads[-1])]
        table.add_row(run.name, run.state, f"{run.figures.get('epoch', 0):.0f}", *cells)
    console = Console()
    console.print(table)
    console.print(f"overhead a trial: median {statistics.median(overheads):.1f} s of {len(overheads)}")


if __name__ == "__main__":
    main(sys.argv[1])
