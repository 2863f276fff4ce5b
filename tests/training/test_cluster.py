"""A cluster of our own beside another Ray on the machine: it listens to nobody else, and a run that ends in any way
leaves nothing on it."""

import json
import subprocess
import sys

import pytest

from ..environment import environment

pytestmark = pytest.mark.faults

# One Ray, several questions: starting one takes longer than each of them.
QUESTIONS = """
import json, os, signal, subprocess, sys, time
import ray
import psutil  # Ray's own
from ray.util.placement_group import placement_group_table
from ray.util.state import list_actors
from vgsr import config
from vgsr.training import cluster, ending, launch

OTHER = "import ray, sys; ray.init('local', num_cpus=1, dashboard_host='127.0.0.1'); print('up', flush=True); input()"
quiet = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
other = subprocess.Popen([sys.executable, "-c", OTHER], **quiet)
assert "up" in other.stdout.readline()
before = dict(os.environ)
cluster.connect()
own = ray.get_runtime_context().gcs_address
experiment, storage, found = config.load(sys.argv[1]), sys.argv[2], {}
found["environment kept"] = os.environ.get("RAY_ADDRESS") == before.get("RAY_ADDRESS")
os.environ["RAY_ADDRESS"] = own  # for this script's own questions to Ray's State API
mine = [child for child in psutil.Process().children(recursive=True) if child.pid != other.pid]
mine = [child for child in mine if other.pid not in [parent.pid for parent in child.parents()]]
listening = [c.laddr.ip for child in mine for c in child.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
found["addresses"] = sorted({address.removeprefix("::ffff:") for address in listening})


def groups():
    return [group["state"] for group in placement_group_table().values() if group["state"] != "REMOVED"]


def left(pid):
    # Ray ends processes after it says that they are gone
    deadline = time.monotonic() + 120
    while (groups() or psutil.pid_exists(pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [groups(), psutil.pid_exists(pid)]


def worker():
    alive = [("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE")]
    return list_actors(filters=alive)[0].pid


def stop(row):
    found["stopped"] = worker()
    raise RuntimeError("stopped by its caller")


try:
    launch.fit(experiment, name="stopped", storage=storage, on_row=stop)
except RuntimeError as error:
    found["stopped"] = [str(error), *left(found["stopped"])]


def freeze(row):
    if row["epoch"] == 2:
        found["stalled"] = worker()
        os.kill(found["stalled"], signal.SIGSTOP)


try:
    launch.fit(experiment, name="stalled", storage=storage, on_row=freeze, stall_seconds=5)
except launch.Stalled as error:
    found["stalled"] = [str(error), *left(found["stalled"])]


@ray.remote(num_cpus=0, max_concurrency=2)
class Trial:
    def fit(self, experiment, storage):
        launch.fit(experiment, name="killed", storage=storage, on_row=lambda row: setattr(self, "row", row))

    def rows(self):
        return hasattr(self, "row")


trial = Trial.remote()
trial.fit.remote(experiment, storage)
while not ray.get(trial.rows.remote()):
    time.sleep(0.1)
pid = worker()
ray.kill(trial)  # no finally runs: Ray Train's own cleaner has to ask the right one of the two clusters
found["killed"] = left(pid)

trial = Trial.remote()
trial.fit.remote(experiment, storage)
while not groups():
    time.sleep(0.02)
ray.kill(trial)  # before its workers are there: the cleaner does not know their group
time.sleep(3)
found["killed early"] = groups()
ending.clear_orphans()
found["cleared"] = left(0)[0]
other.communicate("")
print("found", json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tiny, tmp_path_factory):
    """The answers, and the environment that it was asked in."""
    from vgsr import config

    folder = tmp_path_factory.mktemp("cluster")
    values = {
        "name": "tiny",
        "corpus": {"manifest": str(tiny)},
        "student": {"channels": 8, "embedding": 16},
        "train": {"epochs": 400, "batch": 8, "crop_seconds": 0.5},
    }
    (folder / "tiny.yaml").write_text(config.build(values).yaml())
    done = subprocess.run(
        [sys.executable, "-c", QUESTIONS, str(folder / "tiny.yaml"), str(folder / "storage")],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.split("found ")[1])


@pytest.mark.timeout(900)
def test_it_listens_on_the_loopback_interface_only(found):
    assert found["addresses"] in (["127.0.0.1"], ["127.0.0.1", "::1"])


def test_the_environment_of_who_starts_it_is_as_before(found):
    assert found["environment kept"]


def test_a_run_whose_caller_stops_it_leaves_nothing(found):
    assert found["stopped"] == ["stopped by its caller", [], False]


def test_a_run_whose_worker_hangs_is_ended_with_its_reason(found):
    reason, groups, running = found["stalled"]
    assert "no sign of life" in reason and "epoch 2" in reason and not groups and not running


def test_a_killed_trial_leaves_nothing_beside_another_cluster(found):
    assert found["killed"] == [[], False]


def test_the_group_of_a_trial_killed_while_its_workers_start_is_cleared(found):
    assert found["killed early"] == ["CREATED"] and found["cleared"] == []
