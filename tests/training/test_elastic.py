"""An elastic run on a cluster that grows, and then loses a node after a notice: the same as bare groups of those sizes.

Ray's own nodes, processes of this machine, and Ray's own drain are used; the training is slowed down in its workers,
so that the cluster changes while it runs.
"""

import json
import subprocess
import sys
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from vgsr import config
from vgsr.training import loop
from vgsr.training.session import LocalSession

from ..environment import inherited

pytestmark = pytest.mark.faults

FEWEST, MOST, EPOCHS, BATCHES = 1, 3, 30, 3
FIGURES = ("loss", "classification", "distillation", "active", "val_eer", "best_val_eer")

# Trains once bare and once on a cluster: a node with one CPU, then another with two, which is drained as a spot machine
# is, and lost. Every step is written down by the worker with rank 0.
SCRIPT = """
import functools, json, os, pathlib, subprocess, sys, threading, time
os.environ.update({
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
    "RAY_health_check_period_ms": "1000",
})
import ray
from ray.cluster_utils import Cluster
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import get_or_create_autoscaling_coordinator
from vgsr import config
from vgsr.training import crew, launch, loop
from vgsr.training.session import LocalSession

experiment, folder = config.load(sys.argv[1]), pathlib.Path(sys.argv[2])
fewest, most = int(sys.argv[3]), int(sys.argv[4])
log, calm = folder / "log", folder / "calm"


def told():
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def watched(settings):
    import json, time
    from vgsr.training import launch, loop, worker

    at, slept = {}, set()
    schedules, step = loop._set_schedules, loop._step
    on_step, report = worker.RaySession.on_step, worker.RaySession.report

    def tell(session, **what):
        if session.rank == 0:
            with log.open("a") as file:
                line = {"attempt": session.attempt, "world": session.world, "time": time.time(), **what}
                file.write(json.dumps(line) + "\\n")

    def set_schedules(experiment, learner, progress):
        schedules(experiment, learner, progress)
        at.update(progress=progress, rate=learner.optimiser.param_groups[0]["lr"])

    def stepped(experiment, session, learner, batch):
        found = step(experiment, session, learner, batch)
        tell(session, kind="step", **at)
        return found

    def slowly(session, epoch, batch, batches):
        on_step(session, epoch, batch, batches)
        while session.world == fewest and epoch == 2 and not calm.exists():  # until it grows
            time.sleep(0.2)
        if (epoch, batch) not in slept and not calm.exists():
            slept.add((epoch, batch))
            time.sleep(0.4)

    def reported(session, row, write):
        report(session, row, write)
        if write:
            tell(session, kind="checkpoint", epoch=row["epoch"], batch=row["batch"])

    loop._set_schedules, loop._step = set_schedules, stepped
    worker.RaySession.on_step, worker.RaySession.report = slowly, reported
    launch._work(settings)  # what would have run here


rates = []
schedules = loop._set_schedules

def recorded(experiment, learner, progress):
    schedules(experiment, learner, progress)
    rates.append((progress, learner.optimiser.param_groups[0]["lr"]))

loop._set_schedules = recorded
loop.train(experiment, LocalSession(folder / "bare"))

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": True})
small = cluster.add_node(num_cpus=1)
ray.init(cluster.address, log_to_driver=False, logging_level="error")
large, drained, removed, rows, started = None, 0.0, 0.0, [], []


def on_started(facts):
    global large
    started.append(facts)
    if large is None:
        large = cluster.add_node(num_cpus=2, labels={"market": "spot"})


def on_step(epoch, batch, batches):
    global drained, removed
    if len(started[-1]["workers"]) == most and epoch > started[-1]["epoch"] and not drained:
        drained = time.time()
        command = ["ray", "drain-node", "--address", cluster.address, "--node-id", large.node_id]
        command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        subprocess.run([*command, "--deadline-remaining-seconds", "90"], check=True, stdout=sys.stderr)
    if drained and not removed and any(
        line["kind"] == "checkpoint" and line["batch"] and line["time"] > drained for line in told()
    ):
        removed = time.time()
        cluster.remove_node(large, allow_graceful=False)
        calm.touch()


def look():
    # Ray Train's view of the cluster is up to 20 s old, unless somebody asks for a fresh one.
    coordinator = get_or_create_autoscaling_coordinator()
    while not over.wait(1):
        ray.get(coordinator.get_reserved_resources.remote("nobody", recompute=True))


over = threading.Event()
looking = threading.Thread(target=look, daemon=True)
looking.start()
launch._work = watched
crew.ScalingConfig = functools.partial(crew.ScalingConfig, elastic_resize_monitor_interval_s=1)
launch.fit(
    experiment, name="run", storage=str(folder / "ray"), on_row=rows.append, on_step=on_step, on_started=on_started,
    workers=(fewest, most),
)
over.set()
looking.join()
found = {"started": started, "rows": rows, "rates": rates, "log": told(), "experiment": sys.argv[1]}
(folder / "found.json").write_text(json.dumps({**found, "drained": drained, "removed": removed}))
ray.shutdown()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def found(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elastic")
    values = {
        "name": "elastic",
        "corpus": {"manifest": str(tiny)},
        "teacher": {"bank": str(tiny / "banks" / "synthetic.parquet")},
        "student": {"channels": 8, "embedding": 16},
        "distill": {"method": "cosine", "margin": {"value": 0.5, "unit": "quantile"}},
        # No checkpoint within an epoch but for the notice's.
        "train": {"epochs": EPOCHS, "batch": 8, "crop_seconds": 0.5, "checkpoint_batches": 10**6},
    }
    (folder / "e.yaml").write_text(config.build(values).yaml())
    own = {"RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1", "VGSR_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, (folder / "e.yaml", folder, FEWEST, MOST))],
        env=inherited() | own,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "found.json").read_text())


def lineage(found):
    """The steps that the final weights went through: an attempt goes on where its checkpoint stands, and what the one
    before did after that is lost."""
    kept = []
    for facts in found["started"]:
        own = [line for line in found["log"] if line["kind"] == "step" and line["attempt"] == facts["attempt"]]
        if own:
            kept = [line for line in kept if line["progress"] < own[0]["progress"]] + own
    return kept


@pytest.mark.timeout(1300)
def test_the_run_grows_and_shrinks_with_the_cluster(found):
    worlds = [len(facts["workers"]) for facts in found["started"]]
    assert worlds[0] == FEWEST and MOST in worlds and worlds[-1] == FEWEST
    labels = [worker["labels"] for facts in found["started"] for worker in facts["workers"]]
    assert sum(one.get("market") == "spot" for one in labels) >= 2


def test_every_batch_was_trained_once_at_the_rate_of_an_uninterrupted_run(found):
    steps = lineage(found)
    assert [line["progress"] for line in steps] == [
        epoch + batch / BATCHES for epoch in range(EPOCHS) for batch in range(BATCHES)
    ]
    assert [[line["progress"], line["rate"]] for line in steps] == found["rates"]
    assert {line["world"] for line in steps} == {FEWEST, MOST}
    last = {row["epoch"]: row for row in found["rows"]}
    assert [len(last[epoch]["steps"]["loss"]) for epoch in range(1, EPOCHS + 1)] == [BATCHES] * EPOCHS


def test_a_notice_makes_one_checkpoint_at_once_and_nothing_before_it_is_lost(found):
    within = [line for line in found["log"] if line["kind"] == "checkpoint" and line["batch"]]
    assert len(within) == 1 and found["drained"] < within[0]["time"] < found["removed"]
    after = found["started"][1 + max(i for i, facts in enumerate(found["started"]) if len(facts["workers"]) == MOST)]
    first = next(line for line in found["log"] if line["kind"] == "step" and line["attempt"] == after["attempt"])
    assert first["progress"] >= within[0]["epoch"] + within[0]["batch"] / BATCHES


class Stopped(Exception):
    pass


class Stage(LocalSession):
    """Wants a checkpoint after so many batches, and nothing more; 0: goes on to the end."""

    steps, asked = 0, 0

    def wants_checkpoint(self):
        self.asked += 1
        return self.asked == self.steps

    def on_step(self, *_):
        if self.steps and self.asked >= self.steps:
            raise Stopped


def _stage(rank, world, experiment, folder, steps, port):
    """A bare group that goes on with the run in `folder`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    rows = []
    session = Stage(folder, rows.append, rank=rank, world=world)
    session.steps = steps
    with suppress(Stopped):
        loop.train(experiment, session, session.on_step)
    if rank == 0:
        Path(folder, "rows.json").write_text(json.dumps(rows))
    dist.destroy_process_group()


def test_it_is_bit_for_bit_what_bare_groups_of_those_sizes_make_of_it(found, together, tmp_path):
    """One bare group after the other, each as large as the cluster's were, and for as many steps. (A run of one worker
    alone is another: normalisation layers see the whole batch.)"""
    stages = [(world, len(list(steps))) for world, steps in groupby(line["world"] for line in lineage(found))]
    for number, (world, steps) in enumerate(stages, start=1):
        together(world, _stage, world, config.load(found["experiment"]), str(tmp_path), steps * (number < len(stages)))
    last = json.loads((tmp_path / "rows.json").read_text())
    wanted = {row["epoch"]: row for row in [*last[0].get("history", []), *last] if "val_eer" in row}
    got = {row["epoch"]: row for row in found["rows"] if "val_eer" in row}
    assert sorted(got) == sorted(wanted) == list(range(1, EPOCHS + 1))
    for epoch, row in wanted.items():
        assert [got[epoch][figure] for figure in FIGURES] == [row[figure] for figure in FIGURES], epoch
