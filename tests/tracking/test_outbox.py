"""The outbox: whatever happens to the server or the process, everything reaches MLflow once; nobody waits for it."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from vgsr import tracking
from vgsr.tracking import Outbox, Tracker, TrackingError, journal, outbox
from vgsr.tracking.runs import address
from vgsr.tracking.store import tagged

from .mlflow_server import histories


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    """A database of MLflow with an experiment and no runs; making one takes seconds."""
    file = tmp_path_factory.mktemp("schema") / "mlflow.db"
    tracking.connect(f"sqlite:///{file}")
    return file


@pytest.fixture
def store(schema, tmp_path):
    shutil.copy(schema, tmp_path)
    return tracking.connect(f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(outbox, "PAUSE", 0.001)
    monkeypatch.setattr(outbox, "LONGEST_PAUSE", 0.01)


def epoch(number, trial=0, steps=3):
    """A row with figures and step figures that tell where they belong."""
    figures = {f"figure_{n}": 1000.0 * trial + 10 * number + n / 100 for n in range(5)}
    losses = [trial + (number - 1) * steps + i / 10 for i in range(steps)]
    row = {"epoch": number, "val_eer": 0.5 / number, "best_val_eer": 0.5 / number, "best_checkpoint": f"epoch-{number}"}
    return {**row, **figures, "steps": {"loss": losses}, "first_step": (number - 1) * steps}


def wanted(rows):
    """The same rows as MLflow should hold them: key → [(step, value), …]."""
    found = {}
    for row in rows:
        for key, value in row.items():
            if key not in ("steps", "first_step", "best_checkpoint"):
                found.setdefault(key, []).append((row["epoch"], value))
        for name, values in row["steps"].items():
            found.setdefault(f"step_{name}", []).extend((row["first_step"] + i, v) for i, v in enumerate(values))
    return found


def a_search(box, trials, epochs, experiment=None):
    """Puts a search of so many interleaved trials into the outbox; returns what MLflow should hold of each trial."""
    box.open("s", "", name="s", tags={"kind": "search"}, experiment=experiment)
    for trial in range(trials):
        box.open("s", f"t{trial}", name=f"trial {trial}", tags={}, experiment=experiment)
    for number in range(1, epochs + 1):
        for trial in range(trials):
            box.row("s", f"t{trial}", epoch(number, trial))
            box.tag("s", f"t{trial}", {"vgsr.checkpoint": f"/c/{number}"})
    for trial in range(trials):
        box.close_run("s", f"t{trial}", tracking.PRUNED if trial % 2 else tracking.COMPLETED, "asha" * (trial % 2))
    box.close_run("s", "", tracking.COMPLETED)
    return {f"t{trial}": wanted([epoch(number, trial) for number in range(1, epochs + 1)]) for trial in range(trials)}


def kept(tmp_path):
    figures, states = histories(tmp_path / "mlflow.db", "s")
    return {trial: dict(keys) for trial, keys in figures.items()}, states


def test_a_search_arrives_with_all_that_belongs_to_it(store, tmp_path, tiny_experiment):
    box = Outbox(store, tmp_path / "box")
    want = a_search(box, 3, 4, tiny_experiment())
    box.figures("s", "t1", {"test_eer": 0.25}, step=4)
    assert box.close() == 0 and not box.trouble and not box.refused
    want["t1"]["test_eer"] = [(4, 0.25)]
    assert kept(tmp_path) == (want, {"-": "FINISHED", "t0": "FINISHED", "t1": "KILLED", "t2": "FINISHED"})
    parent = tracking.search_run(store, "s")
    one = next(run for run in tracking.trials(store, parent) if run.tags["vgsr.trial"] == "t1")
    assert one.params == {key: str(value) for key, value in tiny_experiment().flat().items()}
    said = {"vgsr.state": "pruned", "vgsr.reason": "asha", "vgsr.checkpoint": "/c/4", tracking.PARENT: parent}
    assert said.items() <= one.tags.items()
    assert "experiment.yaml" in [file.path for file in store.client.list_artifacts(one.run_id)]
    assert [path.name for path in (tmp_path / "box").iterdir()] == ["lock"]


def test_a_run_is_opened_again_and_goes_on(store, tmp_path):
    for epochs in ((1, 2), (2, 3), (3,)):
        box = Outbox(store, tmp_path / "box")
        box.open("s", "t0", name="t", tags={}, experiment=None)
        for number in epochs:
            box.row("s", "t0", epoch(number))
        box.close_run("s", "t0", tracking.FAILED if 3 not in epochs else tracking.COMPLETED)
        box.close()
    assert kept(tmp_path) == ({"t0": wanted(map(epoch, (1, 2, 3)))}, {"t0": "FINISHED"})


class Unreliable:
    """A client of whose calls some fail before they do anything, and some after they did it."""

    def __init__(self, client, seed):
        self._client, self._draw, self.failed = client, random.Random(seed), 0

    def __getattr__(self, name):
        call = getattr(self._client, name)

        def unreliable(*args, **kwargs):
            fate = self._draw.random()
            self.failed += fate < 0.5
            if fate < 0.25:
                raise MlflowException("connection refused")
            answer = call(*args, **kwargs)
            if fate < 0.5:
                raise MlflowException("the answer was lost")
            return answer

        return unreliable


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_answers_that_are_lost_lose_and_double_nothing(store, tmp_path, seed):
    client = Unreliable(store.client, seed)
    box = Outbox(Tracker(store.uri, client, store.experiment_id), tmp_path / "box")
    want = a_search(box, 3, 3)
    assert box.close() == 0 and not box.refused and client.failed > 10
    figures, states = kept(tmp_path)
    assert figures == want
    assert states == {"-": "FINISHED", "t0": "FINISHED", "t1": "KILLED", "t2": "FINISHED"}


@pytest.mark.parametrize("late", ["at once", "while it runs", "after its end", "after all"])
def test_a_run_that_was_made_twice_is_one(store, tmp_path, late):
    """A server may make a run for a request that was given up: before the next request, or as long after it as it
    likes. Nobody ever sees two runs of a trial, and what is made while the search runs is gone when it ends."""

    class Twice(MlflowClient):
        def create_run(self, *args):
            made.append(args)
            if late == "at once":
                super().create_run(*args)
            return super().create_run(*args)

        def set_terminated(self, run, *args):
            tags = store.client.get_run(run).data.tags
            ends.append(len(list(tagged(store, address(tags["vgsr.search"], tags["vgsr.trial"])))))
            return super().set_terminated(run, *args)

    def make():
        for args in made if late != "at once" else []:
            store.client.create_run(*args)

    def seen():
        parents, trials = tracking.searches(store), tracking.trials(store, tracking.search_run(store, "s"))
        assert [run.run_id for run in parents] == [tracking.search_run(store, "s")]
        return sorted(run.tags["vgsr.trial"] for run in trials)

    made, ends = [], []
    box = Outbox(Tracker(store.uri, Twice(store.uri), store.experiment_id), tmp_path / "box")
    box.open("s", "", name="s", tags={}, experiment=None)
    box.open("s", "t0", name="t", tags={}, experiment=None)
    box.open("s", "t1", name="t", tags={}, experiment=None)
    box.row("s", "t0", epoch(1))
    box.wait()
    if late == "while it runs":
        make()
    assert seen() == ["t0", "t1"]
    for trial in range(2):
        box.open("s", f"t{trial}", name="t", tags={}, experiment=None)
        for number in (1, 2):
            box.row("s", f"t{trial}", epoch(number, trial))
        box.close_run("s", f"t{trial}", tracking.COMPLETED)
    box.wait()
    if late == "after its end":
        make()
    assert seen() == ["t0", "t1"]
    box.close_run("s", "", tracking.COMPLETED)
    box.close()
    if late == "after all":
        make()
    assert seen() == ["t0", "t1"] == sorted(run.arm for run in tracking.select(store, "s"))
    want = {f"t{trial}": wanted([epoch(number, trial) for number in (1, 2)]) for trial in range(2)}
    assert kept(tmp_path) == (want, {"-": "FINISHED", "t0": "FINISHED", "t1": "FINISHED"})
    assert ends == [1, 1, 1]
    there = store.client.search_runs([store.experiment_id])
    assert len(there) == 3 + (3 if late == "after all" else 0)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from tests.tracking import test_outbox as here
from vgsr import tracking
from vgsr.tracking import journal
said = 0
true = journal.Journal.sent
def sent(self, entry):
    global said
    said += 1
    if said > {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    true(self, entry)
journal.Journal.sent = sent
box = tracking.Outbox(tracking.connect("sqlite:///{folder}/mlflow.db"), "{folder}/box")
here.a_search(box, 2, 3)
box.wait()
"""


def test_a_process_killed_before_it_noted_what_it_sent(store, tmp_path):
    """The child dies in its 8th note; its successor also finds a line that was torn in the middle."""
    code = textwrap.dedent(KILLED).format(tests=os.getcwd(), folder=tmp_path, after=7)
    died = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    (segment,) = (tmp_path / "box").glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    with segment.open("ab") as file:
        file.write(lines[-1][:40])
    left = journal.Journal(tmp_path / "box")
    assert len(lines) - 7 == len(left.left)
    left.close()
    box = Outbox(store, tmp_path / "box")
    box.wait()
    a_search(box, 2, 3)  # the same command: the search tells again what it knows
    assert box.close() == 0
    want = {f"t{trial}": wanted([epoch(number, trial) for number in (1, 2, 3)]) for trial in (0, 1)}
    assert kept(tmp_path) == (want, {"-": "FINISHED", "t0": "FINISHED", "t1": "KILLED"})


def test_what_mlflow_will_never_take_is_put_aside_and_told(store, tmp_path):
    box = Outbox(store, tmp_path / "box")
    box.open("s", "t0", name="t", tags={}, experiment=None)
    box.row("s", "t0", epoch(1))
    box.figures("s", "t0", {"no!name?": 0.5})
    box.row("s", "t0", epoch(2))
    box.row("s", "nobody", epoch(1))
    box.close_run("s", "t0", tracking.COMPLETED)
    assert box.close() == 0
    assert kept(tmp_path) == ({"t0": wanted(map(epoch, (1, 2)))}, {"t0": "FINISHED"})
    aside = (tmp_path / "box" / journal.REFUSED).read_text()
    assert aside.count("\n") == 2 and "no!name?" in aside and "there is no run of s/nobody" in aside
    assert journal.REFUSED in box.refused


def test_a_store_that_takes_no_files_takes_the_rest(store, tmp_path, tiny_experiment, monkeypatch):
    def log_text(*_):
        raise OSError("the bucket is gone")

    monkeypatch.setattr(store.client, "log_text", log_text)
    box = Outbox(store, tmp_path / "box")
    want = a_search(box, 2, 2, tiny_experiment())
    assert box.close() == 0 and "the bucket is gone" in box.refused
    assert kept(tmp_path)[0] == want


def test_one_process_at_a_time(store, tmp_path):
    box = Outbox(store, tmp_path / "box")
    with pytest.raises(TrackingError, match=f"process {os.getpid()} is writing"):
        Outbox(store, tmp_path / "box")
    box.close()
    Outbox(store, tmp_path / "box").close()


def test_a_server_that_never_answers_holds_nobody_up(store, tmp_path, monkeypatch):
    """It takes connections and says nothing: every put returns all the same, and a later process sends it all."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        box = Outbox(Tracker(uri, MlflowClient(uri), store.experiment_id), tmp_path / "box")
        want = a_search(box, 20, 10)
        put = 2 + 20 * (2 + 10 * 2)
        assert box.close(0) == put
    # The refused connection ends the thread's request, and with it the lock.
    box._thread.join()
    assert tracking.search_run(store, "s") is None
    later = Outbox(store, tmp_path / "box")
    assert later.close() == 0
    assert kept(tmp_path)[0] == want


def test_the_journal_holds_little_more_than_what_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SEGMENT", 2000)
    kept_events = journal.Journal(tmp_path)
    event = {"kind": "row", "search": "s", "trial": "t", "row": {"x": "y" * 200}}
    waiting = [kept_events.append({**event, "n": n}) for n in range(20)]
    for n in range(20, 500):
        kept_events.sent(waiting.pop(0))
        waiting.append(kept_events.append({**event, "n": n}))
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 20 * 300 + 3 * 2000
    assert [kept_events.read(entry)["n"] for entry in waiting] == list(range(480, 500))
    kept_events.close()
    again = journal.Journal(tmp_path)
    assert [again.read(entry)["n"] for entry in again.left] == list(range(480, 500))
    again.close()


def test_lines_that_a_disk_spoilt_are_put_aside(tmp_path):
    first = journal.Journal(tmp_path)
    for n in range(3):
        first.append({"kind": "row", "search": "s", "trial": "t", "n": n})
    first.close()
    (segment,) = tmp_path.glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(lines[0] + b"\x00" * 20 + b"\n" + lines[2])
    again = journal.Journal(tmp_path)
    assert [again.read(entry)["n"] for entry in again.left] == [0, 2]
    assert "unreadable line" in (tmp_path / journal.REFUSED).read_text()
    again.close()
