"""How far a cluster may grow: what its autoscaler was told, where that can be found.

In: a connected process. Out: kinds of nodes and how many there may be, or None without an autoscaler, or where this
process cannot see it. Ray keeps no such thing in its state unless a platform reports it, so that is asked first, then
the configuration that the autoscaler of this cluster reads: its file where it runs on this machine (`ray up`; drivers
of searches run on the head), the RayCluster in a pod of KubeRay.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml

log = logging.getLogger(__name__)

UNBOUNDED = 10_000  # nodes


@dataclass(frozen=True)
class Kind:
    """A kind of node: what one of it offers, its labels, how many of it there may be at most."""

    resources: Mapping[str, float]
    labels: Mapping[str, str]
    count: int


@dataclass(frozen=True)
class Bounds:
    """What an autoscaler may bring up: of each kind so many, and so many nodes in all, beside the head."""

    kinds: tuple[Kind, ...]
    nodes: int


def bounds() -> Bounds | None:
    """Those of the cluster this process is connected to."""
    return _reported() or _of_file() or _of_kuberay()


def parse(configuration: Mapping[str, Any]) -> Bounds | None:
    """Those that an autoscaler's configuration sets; None where it has no kinds of nodes."""
    written, head = configuration.get("available_node_types") or {}, configuration.get("head_node_type")
    nodes = int(configuration.get("max_workers", UNBOUNDED))
    kinds = tuple(
        Kind(
            {name: float(value) for name, value in (kind.get("resources") or {}).items()},
            {str(name): str(value) for name, value in (kind.get("labels") or {}).items()},
            int(kind.get("max_workers", 0 if name == head else nodes)),
        )
        for name, kind in written.items()
    )
    return Bounds(kinds, nodes) if kinds else None


def _reported() -> Bounds | None:
    found = ray._private.state.state.get_cluster_config()
    if found is None or not found.node_group_configs:
        return None
    return Bounds(
        tuple(
            Kind(
                {name: float(value) for name, value in group.resources.items()},
                {},
                group.max_count if group.max_count >= 0 else UNBOUNDED,
            )
            for group in found.node_group_configs
        ),
        UNBOUNDED,
    )


def _of_file() -> Bounds | None:
    port = ray.get_runtime_context().gcs_address.rpartition(":")[2]  # its host may have several names
    for line in _commands():
        options = dict(part.split("=", 1) for part in line if part.startswith("--") and "=" in part)
        file = options.get("--autoscaling-config")
        if file and options.get("--gcs-address", "").endswith(f":{port}"):
            try:
                return parse(yaml.safe_load(Path(file).expanduser().read_text()))
            except (OSError, yaml.YAMLError) as error:
                log.warning("%s: what the cluster may grow to cannot be read (%s)", file, error)
    return None


def _commands() -> list[list[str]]:
    """The command lines of this machine's processes."""
    import psutil  # Ray's own copy: importing Ray puts it on the path

    return [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]


def _of_kuberay() -> Bounds | None:
    name, namespace = os.environ.get("RAY_CLUSTER_NAME"), os.environ.get("RAY_CLUSTER_NAMESPACE")
    if not (name and namespace and os.environ.get("KUBERNETES_SERVICE_HOST")):
        return None
    import requests
    from ray.autoscaler._private.kuberay import autoscaling_config, node_provider

    try:
        cluster = node_provider.KubernetesHttpApiClient(namespace).get(f"rayclusters/{name}")
    except (OSError, ValueError, requests.RequestException) as error:
        log.warning("RayCluster %s: what the cluster may grow to cannot be read (%s)", name, error)
        return None
    if not cluster["spec"].get("enableInTreeAutoscaling"):
        return None
    return parse(autoscaling_config._derive_autoscaling_config_from_ray_cr(cluster))
