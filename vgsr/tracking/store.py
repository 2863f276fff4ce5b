"""Where runs are kept: a URI in; a connection to one MLflow experiment out. And how its runs are looked up by tags."""

import fcntl
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from vgsr.home import home

PAGE = 1000  # runs MLflow gives in one call
log = logging.getLogger(__name__)

# MLflow itself would wait 120 s for an answer and ask eight times, over four minutes: a dead server must be noticed
# sooner. What must not be lost waits in the outbox and not in a call.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # a server's, at the end of every run
}
FIRST: dict[str, Any] = {"timeout": 10, "max_retries": 1}  # of the first question, so that nobody waits for minutes


class TrackingError(Exception):
    """MLflow cannot do what was asked; the text says what is missing."""


@dataclass(frozen=True)
class Tracker:
    """One MLflow experiment on one server or database."""

    uri: str
    client: MlflowClient
    experiment_id: str

    @property
    def shown(self) -> str:
        """The URI as messages name it: without the password that a server's or a database's may hold."""
        return _shown(self.uri)


def default_uri() -> str:
    """`$MLFLOW_TRACKING_URI`, or a SQLite file in the home folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def connect(uri: str | None = None, experiment: str = "vgsr") -> Tracker:
    """Open the tracking store (making its schema if it is new) and the experiment in it.

    TrackingError within seconds when a server or database does not answer, with what to do.
    """
    uri = uri or default_uri()
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    for chatty in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        with _first_call(uri):
            client = MlflowClient(uri)
            found = client.get_experiment_by_name(experiment) or _made(client, uri, experiment)
    except MlflowException as error:
        place = "the file and its folder" if uri.startswith("sqlite:") else "the server is up and the address is right"
        raise TrackingError(
            f"{_shown(uri)}: MLflow does not answer. See that {place}; MLFLOW_TRACKING_URI names another "
            f"one, and without it runs go to a file in the home folder. ({_shown(error.message)})"
        ) from error
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"{_shown(uri)}: the experiment {experiment!r} was deleted there; "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}` brings it back"
        )
    return Tracker(uri, client, found.experiment_id)


def _made(client: MlflowClient, uri: str, experiment: str) -> Experiment:
    """The experiment, made unless another process was faster."""
    artifacts = None
    if uri.startswith("sqlite:///"):
        artifacts = (Path(uri.removeprefix("sqlite:///")).parent / "artifacts").as_uri()
    kind = {"mlflow.experimentKind": "custom_model_development"}  # opens the UI on runs, not on chat traces
    try:
        return client.get_experiment(client.create_experiment(experiment, artifacts, kind))
    except MlflowException as error:
        found = client.get_experiment_by_name(experiment)
        if found is None:
            raise
        log.debug("another process made the experiment: %s", error)
        return found


@contextmanager
def _first_call(uri: str) -> Iterator[None]:
    """Around a store's first call: of several processes one at a time makes a database, for MLflow's migrations break
    one that two of them make; and whether a server is there is asked first."""
    if uri.startswith("sqlite:///"):
        file = Path(uri.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_name(f"{file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    if uri.startswith(("http://", "https://")):
        # Any answer will do: it is there.
        http_request(get_default_host_creds(uri), "/health", "GET", raise_on_status=False, **FIRST)
    yield


def connect_existing() -> Tracker:
    """The tracking store, unless it is a database that does not exist: a misspelt place must not make one.

    TrackingError then, and as `connect` does.
    """
    uri = default_uri()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise TrackingError(f"no runs are tracked on this machine yet (there is no {uri.removeprefix('sqlite:///')})")
    return connect(uri)


def tagged(tracker: Tracker, tags: Mapping[str, str]) -> Iterator[Run]:
    """The runs that have all these tags, the latest first.

    A value may be anything a user typed. MLflow's filters know no escapes, so a value with a quotation mark or a
    backslash is never written into one; it is compared here.
    """
    safe = {key: value for key, value in tags.items() if not set("'\"\\") & set(value)}
    clause = " and ".join(f"tags.`{key}` = '{value}'" for key, value in safe.items())
    token = None
    while True:
        page = tracker.client.search_runs([tracker.experiment_id], clause, max_results=PAGE, page_token=token)
        yield from (run for run in page if all(run.data.tags.get(key) == value for key, value in tags.items()))
        token = page.token
        if not token:
            return


def _shown(text: str) -> str:
    return re.sub(r"(?<=//)([^/@\s]*):[^/@\s]*@", r"\1:***@", text)
