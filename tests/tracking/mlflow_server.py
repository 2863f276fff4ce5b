"""A real MLflow server on loopback: a process of its own that can be killed and started again on the same database."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict


class Server:
    """`url` answers between `start` and `kill`; `histories` reads what it keeps, without it."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self.url = f"http://127.0.0.1:{port}"
        self.database = folder / "mlflow.db"
        self._process = None

    def start(self):
        # Its pool of 15 connections stands still for half a minute when 15 requests at once want a second one each.
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
        command += ["--backend-store-uri", f"sqlite:///{self.database}", "--port", str(self.port)]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "server.log").open("a") as out:
            self._process = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "64"},
            )
        while self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "server.log").read_text())

    def kill(self):
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def histories(self, search):
        """{trial: {key: [(step, value), …] in the order of steps}} and {trial: state} of a search."""
        return histories(self.database, search)


def histories(database, search):
    """What a database of MLflow holds of a search: figures by trial and key, and the trials' states."""
    with sqlite3.connect(database) as base:
        runs = base.execute(
            "select s.run_uuid, t.value, r.status from tags s join tags t using (run_uuid) join runs r using (run_uuid)"
            " where s.key = 'vgsr.search' and s.value = ? and t.key = 'vgsr.trial' and r.lifecycle_stage = 'active'",
            (search,),
        ).fetchall()
        figures = defaultdict(lambda: defaultdict(list))
        for run, trial, _ in runs:
            for key, step, value in base.execute(
                "select key, step, value from metrics where run_uuid = ? order by key, step", (run,)
            ):
                figures[trial][key].append((step, value))
    assert len({trial for _, trial, _ in runs}) == len(runs), "a trial has two runs"
    return figures, {trial: status for _, trial, status in runs}
