"""The Ray cluster: joined where there is one, else started on this machine.

In: `$RAY_ADDRESS`. Out: a connected process.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import ray
from ray._private import ray_constants
from ray._private.services import get_ray_address_from_environment

DRIVER_RESOURCE = "trial_driver"
# A cluster of this machine alone serves this machine alone: without an address Ray listens on every interface.
LOOPBACK = "127.0.0.1"
# For such a cluster. A trial is several small processes of which only the workers compute: Ray need not warn of so
# many; and nobody preempts this machine, so nothing has to watch for it.
LOCAL = {"RAY_worker_maximum_startup_concurrency": "16", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}


def connect() -> None:
    """Join the cluster that `$RAY_ADDRESS` names, else one that runs on this machine, else start one here.

    `RAY_ADDRESS=local` starts one in any case. ConnectionError when a named cluster does not answer.

    The dashboard stays on: Ray frees the workers of a pruned trial through it. A cluster that we start listens on the
    loopback interface only, and offers the resource on which trial drivers are placed, so that they take no core from
    training.
    """
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    address = os.environ.get("RAY_ADDRESS", "auto")
    if address != "local":
        try:
            # Ray's own search, in advance: how to join depends on what is found. ConnectionError where nothing is.
            found = get_ray_address_from_environment(address, None)
            with _loopback() if _only_on_loopback(found) else nullcontext():
                ray.init(address=found, **quiet)
            return
        except ConnectionError:
            if address != "auto":
                raise
    for name, value in LOCAL.items():
        os.environ.setdefault(name, value)
    with _known_address():
        ray.init(
            "local",
            include_dashboard=True,
            dashboard_host=LOOPBACK,
            resources={DRIVER_RESOURCE: 1000},
            **quiet,
        )


def _only_on_loopback(address: str) -> bool:
    """Whether it is a cluster like those that `connect` starts. Ray itself looks for it under this machine's name in
    the network, where it does not listen, and would wait there for long."""
    host, _, port = address.rpartition(":")
    if host not in (LOOPBACK, "localhost") or not port.isdigit():
        return False
    return _listens(LOOPBACK, int(port)) and not _listens(ray.util.get_node_ip_address(), int(port))


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def _loopback() -> Iterator[None]:
    """Meanwhile Ray takes the loopback address for this machine's: it does so only where it believes that there are no
    clusters of several machines."""
    enabled, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = enabled


@contextmanager
def _known_address() -> Iterator[None]:
    """While Ray starts: its address, chosen beforehand, is in the environment that its processes inherit.

    It is a loopback address, and Ray listens nowhere else then. And parts of Ray Train ask Ray's State API without
    naming a cluster: where two run on one machine they ask the other one, or none, and never free the workers of a
    trial that was stopped. This process keeps the environment it had: `RAY_ADDRESS=local` starts a cluster the next
    time too.
    """
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    names = {
        "RAY_GCS_SERVER_PORT": str(port),
        "RAY_ADDRESS": f"{LOOPBACK}:{port}",
        ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0",
    }
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        with _loopback():
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
