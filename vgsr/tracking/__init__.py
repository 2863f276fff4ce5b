"""MLflow: runs, their figures, what is attached to them, the champion. The only room that knows it.

A search is a parent run, a trial a child run, a single training a run of its own. Runs are found again by their tags
(`vgsr.search`, `vgsr.trial`), so a restarted search goes on with the runs it had. Epochs are the steps of epoch
figures; the global batch number is the step of `step_*` figures.
"""

from vgsr.tracking.artifacts import PROTOCOL, ROBUSTNESS, SCORES, attach, attached, download, in_place, listed, run_uri
from vgsr.tracking.finding import TrackedRun, history, marked, search_run, searches, select, singles, state, trials
from vgsr.tracking.looking import Reached, completed_runs, reach
from vgsr.tracking.outbox import Outbox
from vgsr.tracking.registry import CHAMPION, MODEL, VERDICT, best, champion, evidence, promote, registered
from vgsr.tracking.runs import (
    COMPLETED,
    FAILED,
    NOTE,
    PARENT,
    PRUNED,
    RUNNING,
    log_figures,
    tag,
)
from vgsr.tracking.store import Tracker, TrackingError, connect, connect_existing, default_uri
from vgsr.tracking.view import link

__all__ = [
    "CHAMPION",
    "COMPLETED",
    "FAILED",
    "MODEL",
    "NOTE",
    "PARENT",
    "PROTOCOL",
    "PRUNED",
    "ROBUSTNESS",
    "RUNNING",
    "SCORES",
    "VERDICT",
    "Outbox",
    "Reached",
    "TrackedRun",
    "Tracker",
    "TrackingError",
    "attach",
    "attached",
    "best",
    "champion",
    "completed_runs",
    "connect",
    "connect_existing",
    "default_uri",
    "download",
    "evidence",
    "history",
    "in_place",
    "link",
    "listed",
    "log_figures",
    "marked",
    "promote",
    "reach",
    "registered",
    "run_uri",
    "search_run",
    "searches",
    "select",
    "singles",
    "state",
    "tag",
    "trials",
]
