"""What MLflow's UI shows first: the columns a person compares runs by, instead of none of them.

In: a tracker, a search. Out: a link that opens the table of its runs, best first. The UI (3.17) keeps a view that is
shared in a tag of the experiment, `mlflow.sharedViewState.KEY`, as JSON of its own state, and opens it by
`viewStateShareKey=KEY`. It knows columns by names like metrics.`epoch`; `workflowType` hides what it has for chats.
"""

import json
from collections.abc import Iterable

from mlflow.exceptions import MlflowException

from vgsr.tracking.finding import TrackedRun
from vgsr.tracking.store import Tracker

TAG = "mlflow.sharedViewState."
KEY = "vgsr"  # of the view of all searches
NAME = ("attributes.Run Name", 270)  # column and width in pixels
SEARCH = ("tags.vgsr.search", 240)
FIRST = (
    ("tags.vgsr.stage", 80),
    ("tags.vgsr.reference", 130),
    ("tags.vgsr.state", 95),
    ("metrics.best_val_eer", 105),
)
SECOND = (
    ("metrics.epoch", 65),
    ("metrics.cost", 80),
    ("metrics.spent_gpu_seconds", 130),
    ("metrics.spent_cpu_seconds", 130),
    ("metrics.utterances_per_second", 150),
    ("metrics.data_wait_share", 120),
    ("params.distill.method", 110),
    ("params.distill.margin.value", 140),
    ("params.distill.weight", 110),
    ("params.seed", 60),
    ("tags.vgsr.reason", 300),
)
TEST_WIDTH = 130


def link(tracker: Tracker, server: str, search: str = "", runs: Iterable[TrackedRun] = ()) -> str:
    """Keep the view of a search, or of all of them, in the experiment; the address that opens it on an MLflow server.

    runs: the search's, whose test figures get columns. Where the tag cannot be set (a server that may only be read),
    the address opens MLflow's own view.
    """
    place = f"{server.rstrip('/')}/#/experiments/{tracker.experiment_id}/runs?workflowType=machine_learning"
    tests = sorted({key for run in runs for key in run.figures if key.startswith("test_") and key.endswith("_eer")})
    state, key = view(search, tests), search or KEY
    try:
        if tracker.client.get_experiment(tracker.experiment_id).tags.get(TAG + key) != state:
            tracker.client.set_experiment_tag(tracker.experiment_id, TAG + key, state)
    except MlflowException:
        return place
    return f"{place}&viewStateShareKey={key}"


def view(search: str, tests: Iterable[str]) -> str:
    """The UI's state as it keeps it: a search's trials, the lowest validation EER first, or all runs, the latest."""
    columns = [*(() if search else (SEARCH,)), *FIRST, *((f"metrics.{test}", TEST_WIDTH) for test in tests), *SECOND]
    widths = {"{}.`{}`".format(*name.split(".", 1)): pixels for name, pixels in (NAME, *columns)}
    state = {
        "searchFilter": f"tags.vgsr.search = '{search}'" if search else "",
        "orderByKey": "metrics.`best_val_eer`" if search else "attributes.start_time",
        "orderByAsc": bool(search),
        "selectedColumns": list(widths)[1:],
        "columnOrder": list(widths),
        "columnWidths": widths,
    }
    return json.dumps(state)
