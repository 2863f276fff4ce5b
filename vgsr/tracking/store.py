"""Where runs are kept: a URI in; a connection to one MLflow experiment out. And how its runs are looked up by tags."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from vgsr.home import home

PAGE = 1000  # runs MLflow gives in one call


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
    """Open the tracking store (making its schema once, before anything concurrent) and the experiment in it.

    TrackingError when a server or database does not answer.
    """
    uri = uri or default_uri()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # a server's, at the end of every run
    for chatty in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    artifacts = None
    if uri.startswith("sqlite:///"):
        file = Path(uri.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True)
        artifacts = (file.parent / "artifacts").as_uri()
    client = MlflowClient(uri)
    try:
        found = client.get_experiment_by_name(experiment)
    except MlflowException as error:
        raise TrackingError(f"{_shown(uri)}: MLflow does not answer ({_shown(error.message)})") from error
    if found:
        return Tracker(uri, client, found.experiment_id)
    kind = {"mlflow.experimentKind": "custom_model_development"}  # opens the UI on runs, not on chat traces
    experiment_id = client.create_experiment(experiment, artifacts, kind)
    return Tracker(uri, client, experiment_id)


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
