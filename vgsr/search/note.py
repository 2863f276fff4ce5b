"""What MLflow's page of a search says of it: the command, what it is over, how to follow it. Markdown."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from vgsr.search.plan import Search


def note(search: Search, found: Sequence[str]) -> str:
    """found: the lines that checking the experiment printed."""
    command = shlex.join(["python", f"sweeps/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    about = [f"{search.first.size} trials of {search.experiment.epochs} epochs, one seed, pruned by ASHA"]
    if search.confirms:
        about.append(
            f"then the {search.settings.top} best and their controls over {search.settings.seeds} fresh seeds, whole; "
            "the candidate is compared with no teacher on the test lists"
        )
    lines = [*about, *found, f"checkpoints: `{search.storage}`", f"live: `vgsr board {search.search_id}`"]
    return "\n".join([f"    {command}", "", *(f"- {line}" for line in lines)])
