"""A search loses a trial, a worker and its MLflow server, each killed without notice; its end tells nothing of it.

A driver that is killed: `test_margin_search.py`. A node: `tests/cluster/test_autoscaling.py`.
"""

import os
import signal
import subprocess
import sys

import pytest

from vgsr import config, tracking
from vgsr.training import loop
from vgsr.training.session import LocalSession

from ..cluster.autoscaled import alone, eventually
from ..cluster.cage import command, descendants
from ..environment import environment
from ..tracking.mlflow_server import Server
from .drivers import margin_search

pytestmark = pytest.mark.faults

EPOCHS = 20


@pytest.fixture
def server(tmp_path, free_port):
    running = Server(tmp_path, free_port())
    running.start()
    yield running
    running.kill()


def kill(cluster, *wanted):
    """Kill one of the processes of these titles."""
    titles = {pid: command(pid) for pid in descendants(cluster.root)}
    found = [pid for pid, said in titles.items() if said.startswith(wanted)]
    assert found, f"no process {wanted} among {sorted(titles.values())}"
    os.kill(found[0], signal.SIGKILL)


@pytest.mark.timeout(1500)
@pytest.mark.skipif(sys.platform != "linux", reason="keeps hold of Ray's processes as only Linux allows")
def test_what_is_killed_in_a_search_is_not_seen_in_its_figures(tiny_experiment, server, one_thread, tmp_path):
    experiment = tiny_experiment({"train.epochs": EPOCHS})
    (tmp_path / "tiny.yaml").write_text(experiment.yaml())
    search = margin_search(tmp_path / "tiny.yaml", "trials=1", "top=0", "seeds=1", f"grace={EPOCHS}")
    log = tmp_path / "search.log"
    with alone(cpus=2) as cluster, log.open("w") as output:
        env = environment(tmp_path / "home", RAY_ADDRESS=cluster.gcs, MLFLOW_TRACKING_URI=server.url)
        driver = subprocess.Popen(search, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:

            def said(text, times=1):
                def found():
                    assert driver.poll() is None, log.read_text()
                    return log.read_text().count(text) >= times

                eventually(text, found)

            said(": epoch 2/")
            kill(cluster, "ray::RayTrainWorker")
            said(": epoch 4/")
            server.kill()
            said(": epoch 6/")
            kill(cluster, "ray::Trial", "ray::ResourceTrainable")  # idle, or at work
            said(": completed")
            server.start()
            assert driver.wait(600) == 0, log.read_text()
        finally:
            driver.kill()
            driver.wait()
        eventually("no placement group is left", lambda: not cluster.groups(), 120)

    tracker = tracking.connect(server.url)
    (parent,) = tracker.client.search_runs([tracker.experiment_id], "tags.`vgsr.trial` = '-'")
    assert parent.data.tags["vgsr.state"] == "completed"
    runs = tracking.trials(tracker, parent.info.run_id)
    assert len(runs) == 3 and {run.state for run in runs} == {"completed"}
    assert sum(run.figures["attempts"] for run in runs) >= 3 + 2
    for run in runs:
        text = tracker.client.download_artifacts(run.run_id, "experiment.yaml", str(tmp_path))
        rows = []
        loop.train(config.load(text), LocalSession(tmp_path / run.run_id, rows.append))
        history = tracker.client.get_metric_history(run.run_id, "val_eer")
        assert [(one.step, one.value) for one in history] == [(row["epoch"], row["val_eer"]) for row in rows]
