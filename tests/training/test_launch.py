"""Ray Train: the same weights as the bare loop, also after the job was killed; two workers train one experiment."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vgsr import config, tracking
from vgsr.training import exchange, launch, loop, state, stored
from vgsr.training.session import LocalSession

from ..environment import environment

SETTINGS = {"train.epochs": 3}


def vgsr(*arguments):
    return [sys.executable, "-c", "from vgsr.cli import main; main()", *map(str, arguments)]


def best_of(output: str) -> Path:
    return Path(output.split("best checkpoint: ")[1].split("\n")[0])


def run(home, *arguments):
    done = subprocess.run(
        vgsr("train", *arguments), env=environment(home), capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return best_of(done.stdout)


def last_of(best: Path) -> Path:
    return max(path for path in best.parent.iterdir() if path.is_dir() and path.name[:5].isdigit())


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_a_run_on_ray_killed_and_resumed_has_the_weights_of_a_bare_one(tiny_experiment, tmp_path):
    file, log = tmp_path / "tiny.yaml", tmp_path / "killed.log"
    file.write_text(tiny_experiment(SETTINGS).yaml())
    with log.open("w") as output:
        job = subprocess.Popen(
            vgsr("train", file), env=environment(tmp_path / "ray"), stdout=output, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 600
        while "epoch 1/3 " not in log.read_text():
            assert job.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
    on_ray = run(tmp_path / "ray", file)
    bare = run(tmp_path / "bare", file, "--bare")
    assert on_ray.name == bare.name
    for name in ("student.safetensors", "heads.safetensors"):
        left, right = load_file(last_of(on_ray) / name), load_file(last_of(bare) / name)
        assert all(torch.equal(left[key], right[key]) for key in left)
    assert state.header(last_of(on_ray))["epoch"] == 3

    tracker = tracking.connect(f"sqlite:///{tmp_path / 'ray' / 'mlflow.db'}")
    (tracked,) = tracker.client.search_runs([tracker.experiment_id])
    assert tracked.data.tags["vgsr.state"] == "completed"
    history = tracker.client.get_metric_history(tracked.info.run_id, "val_eer")
    assert sorted(metric.step for metric in history) == [1, 2, 3]


@pytest.mark.timeout(1500)
def test_two_workers_on_ray(tiny_experiment, tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(tiny_experiment(SETTINGS).yaml())
    best = run(tmp_path / "two", file, "train.workers=2")
    assert state.header(last_of(best))["epoch"] == 3


# Kills the worker of a run in its first epoch, and says how the run ended and how many groups of workers it had.
LOSES_ITS_WORKER = """
import json, os, ray, signal, sys
from ray.util.placement_group import placement_group_table
from ray.util.state import list_actors
from vgsr import config
from vgsr.training import cluster, launch

cluster.connect()
own = ray.get_runtime_context().gcs_address  # another Ray on this machine has workers too
experiment, found, groups = config.load(sys.argv[1]), {}, 0
for retries in (1, 0):
    killed, epochs = [], []

    def on_row(row):
        epochs.append(row["epoch"])
        if not killed:
            alive = [("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE")]
            (worker,) = list_actors(address=own, filters=alive)
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)

    try:
        launch.fit(experiment, name=f"run{retries}", storage=sys.argv[2], on_row=on_row, retries=retries)
        end = "finished"
    except Exception as error:
        end = type(error).__name__
    found[retries] = (end, max(epochs), len(placement_group_table()) - groups)
    groups = len(placement_group_table())
print("found", json.dumps(found))
"""


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_a_run_without_retries_never_starts_workers_again(tiny_experiment, tmp_path):
    """Tune's trials: a controller that started workers while its trial was being stopped would leave them behind."""
    file = tmp_path / "tiny.yaml"
    file.write_text(tiny_experiment({**SETTINGS, "train.epochs": 40}).yaml())
    done = subprocess.run(
        [sys.executable, "-c", LOSES_ITS_WORKER, str(file), str(tmp_path / "storage")],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.split("found ")[1])
    assert found["1"] == ["finished", 40, 2]
    end, epochs, groups = found["0"]
    assert end != "finished" and epochs < 40 and groups == 1


class Script:
    """A crew that plays messages of its second order, and one of its first; a number is so many seconds of silence."""

    def __init__(self, clock, messages):
        self.clock, self.messages = clock, [exchange.Message("row", {"epoch": 9}, 1), *messages]
        self.running, self.at = False, 0.0

    def hear(self, seconds):
        message = self.messages.pop(0)
        if not isinstance(message, exchange.Message):
            self.clock[0] += message
            return None
        self.at = self.clock[0]
        self.running = message.content == "RUNNING" if message.kind == "state" else self.running
        return message


@pytest.fixture
def drain(monkeypatch):
    """Plays messages to the launcher with a limit of 60 s; what it heard, and how often it looked for leftovers."""

    def play(*messages, ended=True, keep=False):
        clock, heard, cleared = [0.0], [], []
        monkeypatch.setattr(launch.time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(launch.ending, "clear_orphans", lambda: cleared.append(clock[0]))
        hear = {kind: heard.append for kind in ("row", "step", "started")}
        assert launch._drain(Script(clock, messages), 2, hear, keep, 60.0) == ended
        return heard, cleared

    return play


def test_silence_of_running_workers_is_a_stall_and_waiting_for_resources_is_not(drain):
    def of_the_crew(kind, content):
        return exchange.Message(kind, content)

    running, lost = of_the_crew("state", "RUNNING"), of_the_crew("state", "RESCHEDULING")
    row, step = exchange.Message("row", {"epoch": 2}, 2), exchange.Message("step", (2, 7, 40), 2)
    begin, end, finished = (
        of_the_crew("controller", b""),
        of_the_crew("end", None),
        exchange.Message("finished", None, 2),
    )
    messages = 100, begin, 100, running, 59, step, 59, row, lost, 500, running, finished
    heard, cleared = drain(*messages, end)
    assert heard == [(2, 7, 40), {"epoch": 2}]
    assert cleared == [100, 200, 818]  # each time that it waited for resources
    assert drain(begin, running, step, finished, ended=False, keep=True)[0] == [(2, 7, 40)]
    with pytest.raises(launch.Stalled, match="for 61 s since epoch 2, batch 7 of 40"):
        drain(running, 40, step, 30, 31)
    with pytest.raises(launch.Stalled, match="for 80 s since the end of epoch 2"):
        drain(running, step, row, 80)


# Runs one after the other with workers that stay: a whole one, one that is stopped after 2 epochs, a whole one of
# another configuration, one that cannot be built, and more after that one has taken its workers with it, after the
# workers were killed, and after they have left. The rows of each, and the processes of its workers.
KEEPS = """
import json, os, signal, sys, time
import ray
from ray.util.placement_group import placement_group_table
from ray.util.state import list_actors
from vgsr import config
from vgsr.training import cluster, launch

cluster.connect()
own = ray.get_runtime_context().gcs_address
base, storage, workers = config.load(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def crew():
    found = list_actors(address=own, filters=[("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE")])
    return sorted(actor.pid for actor in found)


def groups():
    return sum(group["state"] != "REMOVED" for group in placement_group_table().values())


def fit(name, changes={}, until=99):
    rows, by = [], []

    def on_row(row):
        rows.append({key: row[key] for key in ("epoch", "steps", "val_eer", "peak_memory_mb")})
        by[:] = crew()
        if row["epoch"] == until:
            raise SystemExit

    experiment = config.build(base.model_dump(mode="json"), {"train.workers": workers, **changes})
    try:
        launch.fit(experiment, name=name, storage=storage, on_row=on_row, retries=0, keep=True)
        end = "finished"
    except SystemExit:
        end = "stopped"
    except Exception as error:
        end = repr(error)
    print("run", json.dumps({"name": name, "end": end, "rows": rows, "crew": by, "groups": groups()}), flush=True)


def gone():
    deadline = time.monotonic() + 200
    while (crew() or groups()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return not crew() and not groups()


fit("first")
fit("stopped", {"seed": 1}, until=2)
fit("other", {"distill.weight": 0.3})
if workers == 1:
    fit("broken", {"corpus.manifest": "/nowhere"})
    fit("after")
    for process in crew():
        os.kill(process, signal.SIGKILL)
    time.sleep(3)
    fit("later", {"seed": 2})
    assert gone(), "the workers have not left"
    fit("stopped", {"seed": 1})
launch.leave()
assert gone(), "something is left"
if workers > 1:
    fit("anew", {"distill.weight": 0.3})
"""


@pytest.mark.faults
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_that_stay_train_every_run_as_new_ones_would(workers, tiny_experiment, tmp_path, one_thread):
    base = tiny_experiment(SETTINGS)
    (tmp_path / "tiny.yaml").write_text(base.yaml())
    done = subprocess.run(
        [sys.executable, "-c", KEEPS, str(tmp_path / "tiny.yaml"), str(tmp_path / "storage"), str(workers)],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=1000,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [json.loads(line.removeprefix("run ")) for line in done.stdout.splitlines() if line.startswith("run ")]

    def bare(changes):
        rows = []
        values = config.build(base.model_dump(mode="json"), changes)
        loop.train(values, LocalSession(tmp_path / f"bare{len(list(tmp_path.iterdir()))}", rows.append))
        return rows

    def same(rows, changes, epochs):
        wanted = [row for row in bare(changes) if row["epoch"] in epochs]
        assert [row["epoch"] for row in rows] == list(epochs)
        for found, want in zip(rows, wanted, strict=True):
            assert found["steps"] == want["steps"] and found["val_eer"] == want["val_eer"]

    first, stopped, other, *more = runs
    assert [run["end"] for run in (first, stopped, other)] == ["finished", "stopped", "finished"]
    assert first["crew"] == stopped["crew"] == other["crew"] and len(first["crew"]) == workers
    if workers == 2:  # each draws its own noise and masks: the same as new ones of that number
        (anew,) = more
        for found, want in zip(other["rows"], anew["rows"], strict=True):
            assert found["steps"]["loss"] == pytest.approx(want["steps"]["loss"], rel=1e-4)
        assert not set(anew["crew"]) & set(other["crew"])
        assert len(stopped["rows"]) == 2 and stored.latest(tmp_path / "storage" / "stopped") == "00002-000000"
        return
    same(first["rows"], {}, (1, 2, 3))
    same(stopped["rows"], {"seed": 1}, (1, 2))
    same(other["rows"], {"distill.weight": 0.3}, (1, 2, 3))
    broken, after, later, resumed = more
    assert "finished" not in broken["end"] and not broken["rows"] and broken["groups"] == 0
    assert [run["end"] for run in (after, later, resumed)] == ["finished"] * 3
    assert len({*other["crew"], *after["crew"], *later["crew"], *resumed["crew"]}) == 4
    same(after["rows"], {}, (1, 2, 3))
    same(later["rows"], {"seed": 2}, (1, 2, 3))
    same(resumed["rows"], {"seed": 1}, (2, 3))  # the last row of a checkpoint is said once more
