"""A search as a job on a cluster that scales by itself: from no node to two, through the loss of one, back to none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vgsr import tracking

from .autoscaled import autoscaled, eventually

REPOSITORY = Path(__file__).resolve().parents[2]
EPOCHS, TRIALS = 30, 3
GPU_NODE = {
    # Only here are cores, so only here can a worker run.
    "resources": {"CPU": 1, "GPU": 1},
    "labels": {"ray.io/market-type": "spot", "ray.io/accelerator-type": "A10G", "vgsr/machine": "g5.2xlarge"},
    "max_workers": 2,
}
# How soon a node that went silent counts as dead. Ray's defaults, for real networks, add up to most of a minute.
HEALTH = {"health_check_period_ms": 1000, "health_check_timeout_ms": 2000, "health_check_failure_threshold": 3}
CAPACITY = """
import json
from vgsr.search.capacity import capacity
from vgsr.training import cluster
cluster.connect()
found = capacity()
print("held", json.dumps([found.now.get("GPU", 0), found.most.get("GPU", 0), found.machines()[-1]]))
"""

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(sys.platform != "linux", reason="keeps hold of Ray's processes as only Linux allows"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with autoscaled(GPU_NODE, idle_seconds=5, system=HEALTH, VGSR_HOME=str(home)) as running:
        yield running


@pytest.fixture
def search(cluster, tiny_experiment, tmp_path):
    """Submits a search as the README says; `search.said(text)` waits for its log, `search.runs()` for its end."""
    job = Job(cluster, tiny_experiment({"train.epochs": EPOCHS}), tmp_path)
    yield job
    print(job.log)  # shown when the test failed


class Job:
    def __init__(self, cluster, experiment, folder):
        self.cluster, self.folder = cluster, folder
        (folder / "tiny.yaml").write_text(experiment.yaml())
        environment = yaml.safe_load((REPOSITORY / "cluster" / "runtime_env.yaml").read_text())
        environment["env_vars"] |= {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "VGSR_HOME": str(folder / "home"),
            "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
            # A node is a few processes here, not a machine to be bought.
            "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",
        }
        command = ["python", "sweeps/margin_search.py", f"experiment={folder / 'tiny.yaml'}"]
        self.job = cluster.jobs.submit_job(
            entrypoint=" ".join([*command, "trials=1", "top=0", "seeds=1", "concurrent=2", f"grace={EPOCHS}"]),
            runtime_env={"working_dir": str(REPOSITORY), **environment},
        )

    @property
    def log(self):
        return self.cluster.jobs.get_job_logs(self.job)

    def said(self, text, times=1):
        """Wait until a line of the log holds a text in so many lines."""
        eventually(text, lambda: self.alive() and self.log.count(text) >= times)

    def alive(self):
        status = self.cluster.jobs.get_job_status(self.job)
        assert not status.is_terminal(), f"{status}\n{self.log}"
        return True

    def runs(self):
        """The runs of the finished search, and how often each logged each epoch."""
        jobs = self.cluster.jobs
        eventually("the search ends", lambda: jobs.get_job_status(self.job).is_terminal())
        assert jobs.get_job_status(self.job) == "SUCCEEDED", self.log
        tracker = tracking.connect(f"sqlite:///{self.folder / 'mlflow.db'}")
        (parent,) = tracker.client.search_runs([tracker.experiment_id], "tags.`vgsr.trial` = '-'")
        assert parent.data.tags["vgsr.state"] == "completed"
        runs = tracking.trials(tracker, parent.info.run_id)
        epochs = {
            run.name: [metric.step for metric in tracker.client.get_metric_history(run.run_id, "val_eer")]
            for run in runs
        }
        return runs, epochs


def whole(search):
    """Every trial ran once, to its end, and every epoch of it was logged once."""
    runs, epochs = search.runs()
    assert len(runs) == TRIALS and {run.state for run in runs} == {"completed"}
    assert list(epochs.values()) == [list(range(1, EPOCHS + 1))] * TRIALS
    return runs


def test_a_preempted_node_costs_no_trial_and_nothing_is_left(cluster, search):
    assert cluster.nodes() == []
    nodes = eventually("two nodes", lambda: search.alive() and len(found := cluster.nodes()) == 2 and found)
    assert {node.labels["ray.io/market-type"] for node in nodes} == {"spot"}
    search.said(f": epoch 2/{EPOCHS}", times=2)
    cluster.notice(nodes[0], seconds=60)
    search.said(f": epoch 12/{EPOCHS}")
    cluster.kill(nodes[0])
    runs = whole(search)
    assert sum(run.figures["attempts"] for run in runs) > TRIALS
    assert cluster.groups() == []
    eventually("no node is left", lambda: not cluster.nodes())


def test_a_node_that_falls_silent_costs_no_trial(cluster, search):
    held = subprocess.run(
        [sys.executable, "-c", CAPACITY],
        cwd=REPOSITORY,
        env=os.environ | {"RAY_ADDRESS": cluster.gcs, "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(held.stdout.partition("held")[2])[1:] == [2, GPU_NODE["labels"]], held.stdout + held.stderr
    search.said(f": epoch 2/{EPOCHS}", times=2)
    cluster.freeze(cluster.nodes()[0])
    runs = whole(search)
    assert sum(run.figures["attempts"] for run in runs) > TRIALS
    assert cluster.groups() == []
    eventually("no node is left", lambda: not cluster.nodes())
