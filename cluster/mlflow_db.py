"""Keeps the database of the MLflow on a cluster's head in the bucket: heads are ended by `ray down`, and may be lost.

    python mlflow_db.py load FILE PLACE      # before MLflow starts: fetch it, unless there is one here, or none there
    python mlflow_db.py keep FILE PLACE      # save it every five minutes, if it has changed, until SIGTERM
    python mlflow_db.py save FILE PLACE      # save it now, before `ray down`

A copy is one moment's state, also while MLflow writes. What MLflow heard after the last copy is lost with the head; the
search itself goes on from its own storage.
"""

import signal
import sqlite3
import sys
import tempfile
from pathlib import Path

from vgsr import storage

EVERY = 300  # seconds


def load(file: Path, place: str) -> None:
    """Fetch the database; nothing happens where there is one, or nothing was ever saved."""
    if file.exists():
        print(f"{file} is here already")
    elif storage.stat(place) is None:
        print(f"nothing is saved at {place}; MLflow starts with an empty database")
    else:
        storage.get(place, file)
        print(f"fetched {file} from {place}")


def save(file: Path, place: str) -> None:
    """Save one moment's state of the database."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        copy = Path(folder) / file.name
        source, target = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True), sqlite3.connect(copy)
        try:
            source.backup(target)
        finally:
            source.close()
            target.close()
        storage.put(copy, place)
    print(f"saved {file} to {place}", flush=True)


def keep(file: Path, place: str) -> None:
    """Save the database whenever it has changed, until SIGTERM; a failure is told, and tried again the next time."""
    # Waited for and not handled: a handler's exception may be lost, or break off a copy half-way.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    saved = 0
    while True:
        changed = max((part.stat().st_mtime_ns for part in file.parent.glob(f"{file.name}*")), default=0)
        if changed > saved:
            try:
                save(file, place)
                saved = changed
            except (storage.StorageError, sqlite3.Error, OSError) as fault:
                print(f"not saved: {fault}", flush=True)
        if signal.sigtimedwait({signal.SIGTERM}, EVERY) is not None:
            return


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) != 3 or words[0] not in ("load", "keep", "save"):
        sys.exit("usage: mlflow_db.py load|keep|save FILE PLACE")
    {"load": load, "keep": keep, "save": save}[words[0]](Path(words[1]).absolute(), words[2])
