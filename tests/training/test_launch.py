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

from vgsr import tracking
from vgsr.training import state

SETTINGS = {"train.epochs": 3}


def environment(home):
    own = {
        "VGSR_HOME": str(home),
        "RAY_ADDRESS": "local",
        "RAY_AUTH_MODE": "disabled",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "300",
    }
    return {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "RAY"))} | own


def vgsr(*arguments):
    return [sys.executable, "-c", "from vgsr.cli import main; main()", *map(str, arguments)]


def best_of(output: str) -> Path:
    return Path(output.split("best checkpoint: ")[1].split("\n")[0])


def run(home, *arguments):
    done = subprocess.run(
        vgsr("train", *arguments), env=environment(home), capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return best_of(done.stdout)


def last_of(best: Path) -> Path:
    return max(path for path in best.parent.iterdir() if path.is_dir() and path.name[:5].isdigit())


@pytest.mark.timeout(900)
def test_a_run_on_ray_killed_and_resumed_has_the_weights_of_a_bare_one(tiny_experiment, tmp_path):
    file, log = tmp_path / "tiny.yaml", tmp_path / "killed.log"
    file.write_text(tiny_experiment(SETTINGS).yaml())
    with log.open("w") as output:
        job = subprocess.Popen(
            vgsr("train", file), env=environment(tmp_path / "ray"), stdout=output, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 240
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


@pytest.mark.timeout(900)
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
from vgsr.training import launch

launch.connect()
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


@pytest.mark.timeout(900)
def test_a_run_without_retries_never_starts_workers_again(tiny_experiment, tmp_path):
    """Tune's trials: a controller that started workers while its trial was being stopped would leave them behind."""
    file = tmp_path / "tiny.yaml"
    file.write_text(tiny_experiment({**SETTINGS, "train.epochs": 40}).yaml())
    done = subprocess.run(
        [sys.executable, "-c", LOSES_ITS_WORKER, str(file), str(tmp_path / "storage")],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.split("found ")[1])
    assert found["1"] == ["finished", 40, 2]
    end, epochs, groups = found["0"]
    assert end != "finished" and epochs < 40 and groups == 1
