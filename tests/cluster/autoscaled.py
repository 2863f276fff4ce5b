"""A cluster that scales, on this machine: Ray's own autoscaler (v2) over machines that are process trees.

`with autoscaled(folder, …) as cluster:` gives a head without CPUs, whose job server and state API listen on loopback,
and 0 … n GPU nodes as work asks for them. When the block ends, however it ends, all its processes are gone.
"""

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.job_submission import JobSubmissionClient
from ray.util.state import list_nodes, list_placement_groups

from ..environment import inherited
from .cage import command, descendants, signalled
from .machines import CAGE, HEAD, HOST, RAY, ray_start

DRIVERS = "trial_driver"


@dataclass(frozen=True)
class Cluster:
    """A running cluster: the addresses of its GCS and its job server, and the process that everything came of."""

    gcs: str
    server: str
    folder: str
    root: int

    @property
    def jobs(self) -> JobSubmissionClient:
        """Submits jobs, and asks after them."""
        return JobSubmissionClient(self.server)

    def nodes(self) -> list[Any]:
        """The living nodes other than the head."""
        found = list_nodes(self.server, limit=1000, detail=True)
        return [node for node in found if node.state == "ALIVE" and not node.is_head_node]

    def groups(self) -> list[Any]:
        """Placement groups that hold resources or wait for them."""
        return [one for one in list_placement_groups(self.server, limit=1000, detail=True) if one.state != "REMOVED"]

    def machine(self, node: Any) -> list[int]:
        """All processes on the machine of a node."""
        for pid in descendants(self.root):
            if str(CAGE) in command(pid):
                inside = descendants(pid)
                if any(node.node_id in command(one) for one in inside):
                    return inside
        raise LookupError(f"no machine runs node {node.node_id}")

    def notice(self, node: Any, seconds: int) -> None:
        """A spot preemption: the node is to go within `seconds`."""
        subprocess.run(
            [
                *(RAY, "drain-node", f"--address={self.gcs}", f"--node-id={node.node_id}"),
                *("--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot"),
                f"--deadline-remaining-seconds={seconds}",
            ],
            check=True,
            capture_output=True,
        )

    def kill(self, node: Any) -> None:
        """The machine is gone."""
        signalled(self.machine(node), signal.SIGKILL)

    def freeze(self, node: Any) -> None:
        """The machine does not answer any more, and nobody is told: no connection closes."""
        signalled(self.machine(node), signal.SIGSTOP)


def eventually(what: str, found: Callable[[], Any], seconds: float = 400) -> Any:
    """The first true answer; AssertionError when there is none for so long."""
    began = time.monotonic()
    while not (answer := found()):
        assert time.monotonic() - began < seconds, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.3)
    print(f"after {time.monotonic() - began:.1f} s: {what}")  # shown when the test fails
    return answer


@contextmanager
def autoscaled(
    node_type: dict[str, Any], *, idle_seconds: int, system: dict[str, Any], **env: str
) -> Iterator[Cluster]:
    """A cluster whose nodes are all of one type (`resources`, `labels`, `max_workers`), gone when idle for so long.

    system: Ray's system settings. env: for every process of the cluster, instead of this one's MLFLOW… and RAY….
    """
    gcs_port, folder = ports(1)[0], tempfile.mkdtemp(prefix="ray-")
    config = {
        "cluster_name": "test",
        "max_workers": node_type["max_workers"],
        "idle_timeout_minutes": idle_seconds / 60,
        "upscaling_speed": 10,
        "provider": {
            "type": "external",
            "module": "machines.Machines",
            "gcs_address": f"{HOST}:{gcs_port}",
            "folder": folder,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": "head",
        "available_node_types": {
            "head": {"resources": {"CPU": 0, DRIVERS: 100}, "node_config": {}, "max_workers": 0},
            "gpu": {"node_config": {}, "min_workers": 0, **node_type},
        },
        # What Ray's launcher would have filled in.
        "auth": {},
        **{f"{which}setup_commands": [] for which in ("", "head_", "worker_")},
        **{f"{which}_start_ray_commands": [] for which in ("head", "worker")},
        "cluster_synced_files": [],
    }
    own = {"RAY_enable_autoscaler_v2": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "PYTHONPATH": str(CAGE.parent)}
    own |= {"RAY_CLOUD_INSTANCE_ID": HEAD, "RAY_NODE_TYPE_NAME": "head"}
    arguments = [f"--autoscaling-config={folder}/config.json", f"--system-config={json.dumps(system)}"]
    Path(folder, "config.json").write_text(json.dumps(config))
    try:
        with alone(0, *arguments, gcs_port=gcs_port, **own, **env) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder)


@contextmanager
def alone(cpus: int, *arguments: str, gcs_port: int | None = None, **env: str) -> Iterator[Cluster]:
    """A cluster of one node with so many cores, on which a driver's end leaves everything else as it is."""
    gcs_port, server_port, client_port = gcs_port or ports(1)[0], *ports(2)
    gcs, server = f"{HOST}:{gcs_port}", f"http://127.0.0.1:{server_port}"
    folder = tempfile.mkdtemp(prefix="ray-")  # short: Ray makes sockets in it
    starting = ray_start(
        "--head",
        f"--port={gcs_port}",
        f"--dashboard-port={server_port}",
        f"--ray-client-server-port={client_port}",
        f"--temp-dir={folder}",
        f"--num-cpus={cpus}",
        f"--resources={json.dumps({DRIVERS: 100})}",
        *arguments,
    )
    # Ray Train asks the state API of the cluster that the environment names.
    own = {"RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": gcs, "OMP_NUM_THREADS": "1"}
    # A head without cores would start one process at a time.
    own |= {"RAY_worker_maximum_startup_concurrency": "16", "RAY_num_workers_soft_limit": "64"}
    with open(f"{folder}/head.log", "w") as log:
        cage = subprocess.Popen(
            [sys.executable, str(CAGE), HEAD, *starting],
            env=inherited() | own | env,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually("the job server answers", lambda: answers(server_port))
        yield Cluster(gcs, server, folder, cage.pid)
    finally:
        for log in Path(folder).glob("session_latest/logs/monitor.log"):  # shown when a test failed
            print(*(line for line in log.read_text().splitlines() if "legacy field" not in line), sep="\n")
        cage.communicate()
        shutil.rmtree(folder)


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ports(count: int) -> list[int]:
    """Loopback ports that were free a moment ago."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return found
