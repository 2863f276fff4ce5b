"""MLflow: runs, their figures, what is attached to them, the champion. The only room that knows it.

A search is a parent run, a trial a child run, a single training a run of its own. Runs are found again by their tags
(`vgsr.search`, `vgsr.trial`), so a restarted search goes on with the runs it had. Epochs are the steps of epoch
figures; the global batch number is the step of `step_*` figures.
"""

from vgsr.tracking.artifacts import PROTOCOL, ROBUSTNESS, SCORES, attach, attached, download, in_place, listed, run_uri
from vgsr.tracking.finding import TrackedRun, history, marked, search_run, select, state, trials
from vgsr.tracking.registry import CHAMPION, MODEL, best, promote, registered
from vgsr.tracking.runs import (
    COMPLETED,
    FAILED,
    PARENT,
    PRUNED,
    RUNNING,
    close_run,
    log_figures,
    log_row,
    open_run,
    tag,
)
from vgsr.tracking.store import Tracker, TrackingError, connect, connect_existing, default_uri

__all__ = [
    "CHAMPION",
    "COMPLETED",
    "FAILED",
    "MODEL",
    "PARENT",
    "PROTOCOL",
    "PRUNED",
    "ROBUSTNESS",
    "RUNNING",
    "SCORES",
    "TrackedRun",
    "Tracker",
    "TrackingError",
    "attach",
    "attached",
    "best",
    "close_run",
    "connect",
    "connect_existing",
    "default_uri",
    "download",
    "history",
    "in_place",
    "listed",
    "log_figures",
    "log_row",
    "marked",
    "open_run",
    "promote",
    "registered",
    "run_uri",
    "search_run",
    "select",
    "state",
    "tag",
    "trials",
]
