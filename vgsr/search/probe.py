"""Whether a search's storage and Ray can be reached, found out without leaving a trace.

In: a place; `$RAY_ADDRESS`. Out: lines for a person, what the cluster holds; StorageError or ClusterError.
"""

import logging
import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

import ray
from ray._common.network_utils import parse_address
from ray._private.services import find_gcs_addresses
from ray.exceptions import RayError

from vgsr import storage
from vgsr.search.capacity import Capacity, Node, capacity
from vgsr.storage import StorageError
from vgsr.training.cluster import DRIVER_RESOURCE

PATIENCE = 10.0  # seconds that a head may take to answer
CONTENT = b"vgsr --dry-run writes this, reads it and deletes it\n"


class ClusterError(Exception):
    """A cluster that is named but cannot be joined."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs, or the one that a search would start on this machine."""

    running: bool
    line: str
    capacity: Capacity


def storage_line(place: str) -> str:
    """Write, read and delete a small object under a place, and the folders that had to be made for it."""
    missing = [] if storage.remote(place) else [at for at in (Path(place), *Path(place).parents) if not at.exists()]
    there = bool(storage.names(place))
    file = storage.join(place, f".dry-run-{uuid.uuid4().hex}")
    try:
        storage.put_bytes(CONTENT, file)
        if storage.read_bytes(file) != CONTENT:
            raise StorageError(f"{place}: what is written there is not what is read again")
        storage.delete(file)
        if storage.stat(file) is not None:
            raise StorageError(f"{file}: deleted, and still there")
    finally:
        for folder in missing:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return f"{storage.without_secrets(place)}: written, read, deleted" + (", has a search's state" if there else "")


def cluster() -> Cluster:
    """What `vgsr.training.cluster.connect` would join or start; joined for a moment, never started.

    ClusterError when a cluster is named, or runs here, and cannot be joined.
    """
    if ray.is_initialized():
        return _joined()
    address = os.environ.get("RAY_ADDRESS", "auto")
    if address == "local" or (address == "auto" and not find_gcs_addresses()):
        return _local()
    if address != "auto":
        _answers(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        if address == "auto" and isinstance(error, ConnectionError):  # the traces of one that is gone
            return _local()
        said = storage.without_secrets(str(error)).splitlines()[0]
        raise ClusterError(f"no cluster can be joined at RAY_ADDRESS={address} ({said})") from error
    try:
        return _joined()
    finally:
        ray.shutdown()


def _answers(address: str) -> None:
    """ClusterError where nobody listens: Ray itself would try for minutes, and then end the process."""
    found = parse_address(address.rpartition("://")[2])
    if found is None:
        raise ClusterError(f"RAY_ADDRESS={address} is no address; it is HOST:PORT, of the head's GCS")
    try:
        socket.create_connection((found[0], int(found[1])), timeout=PATIENCE).close()
    except (OSError, ValueError) as error:
        raise ClusterError(f"nobody answers at RAY_ADDRESS={address} ({error})") from error


def _joined() -> Cluster:
    found = capacity()
    nodes = f"{len(found.nodes)} node{'s' * (len(found.nodes) > 1)}"
    grown = f"; grown: {_said(found.most)}" if found.most != found.now else ""
    return Cluster(True, f"{ray.get_runtime_context().gcs_address}: {nodes}, {_said(found.now)}{grown}", found)


def _local() -> Cluster:
    found = Node({**_own(), DRIVER_RESOURCE: 1000.0}, {})
    return Cluster(False, f"none runs; the search would start one on this machine: {_said(_own())}", Capacity((found,)))


def _own() -> dict[str, float]:
    """What Ray would find on this machine."""
    from ray._private.accelerators import NvidiaGPUAcceleratorManager
    from ray._private.utils import get_num_cpus

    gpus = NvidiaGPUAcceleratorManager.get_current_node_num_accelerators()
    return {"CPU": float(get_num_cpus()), **({"GPU": float(gpus)} if gpus else {})}


def _said(resources: dict[str, float]) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}s" for name in ("CPU", "GPU"))
