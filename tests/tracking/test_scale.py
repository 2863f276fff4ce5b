"""Fifty concurrent trials and one real MLflow server that is slow, fails, and is killed and started again."""

import subprocess
import sys
import threading

import pytest

from vgsr import tracking
from vgsr.tracking import Outbox, outbox, store

from ..faulty import Faulty
from .mlflow_server import Server

TRIALS, EPOCHS, FIGURES, STEPS = 50, 2, 40, 12


@pytest.fixture(scope="module")
def server(tmp_path_factory, free_port):
    running = Server(tmp_path_factory.mktemp("server"), free_port())
    running.start()
    yield running
    running.kill()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(outbox, "PAUSE", 0.01)
    monkeypatch.setattr(outbox, "LONGEST_PAUSE", 0.5)


def row(trial, epoch):
    """An epoch of 40 figures and 24 step figures: which number stands where follows from its place."""
    figures = {f"figure_{n}": trial + epoch / 10 + n / 1000 for n in range(FIGURES)}
    first = (epoch - 1) * STEPS
    steps = {name: [float(at + n + trial) for n in range(first, first + STEPS)] for at, name in enumerate(("a", "b"))}
    return {"epoch": epoch, **figures, "steps": steps, "first_step": first}


def wanted(trial):
    epochs = range(1, EPOCHS + 1)
    found = {f"figure_{n}": [(e, trial + e / 10 + n / 1000) for e in epochs] for n in range(FIGURES)}
    for at, name in enumerate(("a", "b")):
        found[f"step_{name}"] = [(n, float(at + n + trial)) for n in range(EPOCHS * STEPS)]
    return {**found, "epoch": [(e, e) for e in epochs]}


@pytest.mark.faults
def test_fifty_trials_of_one_driver_while_the_server_is_killed(server, tmp_path, monkeypatch):
    """Slow at first, then a quarter of the requests meets a fault, then it is killed and started again."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    proxy = Faulty(server.url)
    try:
        proxy.delay = 0.01
        box = Outbox(tracking.connect(proxy.url), tmp_path)
        box.open("driver", "", name="driver", tags={}, experiment=None)
        for trial in range(TRIALS):
            box.open("driver", f"t{trial}", name=f"trial {trial}", tags={}, experiment=None)
        box.wait()
        proxy.randomly(0.25, faults=("500", "503", "reset", "lost", "cut"))
        for epoch in range(1, EPOCHS + 1):
            for trial in range(TRIALS):
                box.row("driver", f"t{trial}", row(trial, epoch))
            if epoch == 1:
                while box.wait(0.1) > TRIALS // 2:
                    pass
                proxy.well()
                server.kill()
        for trial in range(TRIALS):
            box.close_run("driver", f"t{trial}", tracking.COMPLETED)
        box.close_run("driver", "", tracking.COMPLETED)
        assert box.wait(0) > TRIALS * EPOCHS, "all was put while the server was dead"
        server.start()
        assert box.close() == 0 and not box.refused
    finally:
        proxy.stop()
    figures, states = server.histories("driver")
    assert states == {"-": "FINISHED"} | {f"t{trial}": "FINISHED" for trial in range(TRIALS)}
    assert figures == {f"t{trial}": wanted(trial) for trial in range(TRIALS)}


def test_fifty_drivers_of_one_trial_each(server, tmp_path):
    """They open an experiment that is not there yet, all at once, and log to one server."""
    begin, left = threading.Barrier(TRIALS), {}

    def drive(trial):
        begin.wait()
        box = Outbox(tracking.connect(server.url, "fifty"), tmp_path / str(trial))
        box.open("drivers", f"t{trial}", name=f"trial {trial}", tags={}, experiment=None)
        for epoch in range(1, EPOCHS + 1):
            box.row("drivers", f"t{trial}", row(trial, epoch))
        box.close_run("drivers", f"t{trial}", tracking.COMPLETED)
        left[trial] = box.close()

    threads = [threading.Thread(target=drive, args=(trial,)) for trial in range(TRIALS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left == dict.fromkeys(range(TRIALS), 0)
    figures, states = server.histories("drivers")
    assert states == {f"t{trial}": "FINISHED" for trial in range(TRIALS)}
    assert figures == {f"t{trial}": wanted(trial) for trial in range(TRIALS)}


OPENING = """
import os, sys
from vgsr import tracking
children = []
for n in range(5):
    child = os.fork()
    if not child:
        try:
            box = tracking.Outbox(tracking.connect(sys.argv[1]), f"{sys.argv[2]}/{n}")
            box.open("s", str(n), name="n", tags={}, experiment=None)
            os._exit(box.close())
        except BaseException as error:
            print(error, flush=True)
            os._exit(1)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def test_processes_that_make_one_new_database_at_once(tmp_path):
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    done = subprocess.run(
        [sys.executable, "-c", OPENING, uri, str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = store.tagged(tracking.connect(uri), {"vgsr.search": "s"})
    assert sorted(run.data.tags["vgsr.trial"] for run in runs) == list("01234")
