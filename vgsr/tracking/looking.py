"""Looking at MLflow without leaving a trace: whether it answers, what it is, what is in it.

In: a URI. Out: a sentence, and a connection where VGSR's experiment is there already; nothing is made or changed.
"""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service.utils import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from vgsr.tracking.finding import TrackedRun, tracked
from vgsr.tracking.runs import COMPLETED
from vgsr.tracking.store import Tracker, TrackingError, default_uri, tagged

PATIENCE = 10  # seconds that a server may take to answer
SQLITE = "sqlite:///"
SCHEMA = "alembic_version"  # the table by which a database of MLflow is known


@dataclass(frozen=True)
class Reached:
    """What was found. tracker: None where nothing has been tracked there yet."""

    line: str
    tracker: Tracker | None


def reach(uri: str | None = None, experiment: str = "vgsr") -> Reached:
    """Look whether MLflow could be written to. TrackingError says why not."""
    uri = uri or default_uri()
    shown = Tracker(uri, None, "").shown  # type: ignore[arg-type]
    try:
        if uri.startswith(("http://", "https://")):
            line, made = f"{shown}: MLflow server {_version(uri)}", True
        elif uri.startswith(SQLITE):
            line, made = _file(Path(uri.removeprefix(SQLITE)), shown)
        else:
            line, made = _database(uri, shown)
        client = MlflowClient(uri) if made else None
        found = client.get_experiment_by_name(experiment) if client else None
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
        first = str(error).splitlines()[0].replace(uri, shown)
        raise TrackingError(f"{shown}: MLflow does not answer ({first})") from error
    return Reached(line, Tracker(uri, client, found.experiment_id) if client and found else None)


def completed_runs(tracker: Tracker) -> list[TrackedRun]:
    """All completed runs, of every search."""
    return [tracked(run) for run in tagged(tracker, {"vgsr.state": COMPLETED})]


def _version(uri: str) -> str:
    answer = http_request(
        get_default_host_creds(uri),
        "/version",
        "GET",
        max_retries=0,
        timeout=PATIENCE,
        raise_on_status=False,
    )
    if answer.status_code != 200:
        raise MlflowException(f"it answers {answer.status_code} {answer.reason}")
    return answer.text.strip()[:40]


def _file(file: Path, shown: str) -> tuple[str, bool]:
    if not file.exists():
        above = next(folder for folder in file.absolute().parents if folder.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(f"{above} cannot be written to, so no database can be made")
        return f"{shown}: no database yet; the search would make it", False
    if not os.access(file, os.W_OK):
        raise PermissionError("the file cannot be written to")
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as opened:
        tables = {name for (name,) in opened.execute("select name from sqlite_master where type = 'table'")}
    return f"{shown}: a database", SCHEMA in tables


def _database(uri: str, shown: str) -> tuple[str, bool]:
    made = inspect(create_engine(uri)).has_table(SCHEMA)
    return f"{shown}: a database", made
