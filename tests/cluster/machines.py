"""A cloud of this machine, for Ray's autoscaler: every node it asks for is `ray start --block` in a cage of its own.

Ray's own fake provider keeps its nodes inside the autoscaler's process, where a test can neither end nor freeze one.
"""

import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ray.autoscaler.node_provider import NodeProvider
from ray.autoscaler.tags import (
    NODE_KIND_HEAD,
    NODE_KIND_WORKER,
    STATUS_UP_TO_DATE,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)

HEAD = "machine-head"
CAGE = Path(__file__).with_name("cage.py")
HOST = "127.0.0.2"  # loopback; Ray would replace 127.0.0.1 by an address that others reach
# No fixed port that another Ray on this machine may hold.
STARTING = [f"--node-ip-address={HOST}", "--dashboard-agent-listen-port=0", "--min-worker-port=0"]
STARTING += ["--max-worker-port=0", "--object-store-memory=80000000", "--disable-usage-stats", "--block"]
RAY = str(Path(sys.executable).with_name("ray"))


def ray_start(*arguments: str) -> list[str]:
    """The command of a node's Ray."""
    return [RAY, "start", *STARTING, *arguments]


class Machines(NodeProvider):
    """What the autoscaler calls; `provider.gcs_address` says which cluster the nodes join."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self._lock, self._numbers = threading.Lock(), itertools.count(1)
        self._cages: dict[str, subprocess.Popen] = {}
        self._tags = {HEAD: {TAG_RAY_NODE_KIND: NODE_KIND_HEAD, TAG_RAY_USER_NODE_TYPE: "head"}}

    def create_node_with_resources_and_labels(self, node_config, tags, count, resources, labels):
        """Start `count` nodes of one type."""
        for _ in range(count):
            with self._lock:
                name = f"machine-{next(self._numbers)}"
                amounts = dict(resources)
                command = ray_start(
                    f"--address={self.provider_config['gcs_address']}",
                    # Of its own, as a node removes from it what it needs no more; short: Ray makes sockets in it.
                    f"--temp-dir={self.provider_config['folder']}/{name}",
                    f"--num-cpus={amounts.pop('CPU', 0)}",
                    f"--num-gpus={amounts.pop('GPU', 0)}",
                )
                node_type = tags[TAG_RAY_USER_NODE_TYPE]
                own = {
                    "RAY_CLOUD_INSTANCE_ID": name,
                    "RAY_NODE_TYPE_NAME": node_type,
                    "RAY_OVERRIDE_LABELS": json.dumps(labels),
                    "RAY_OVERRIDE_RESOURCES": json.dumps(amounts),
                }
                self._cages[name] = subprocess.Popen(
                    [sys.executable, str(CAGE), name, *command], env=os.environ | own, stdin=subprocess.PIPE
                )
                # As the autoscaler asks for it: v2 finds its request again by a tag.
                self._tags[name] = {**tags, TAG_RAY_NODE_KIND: NODE_KIND_WORKER, TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE}

    def create_node(self, node_config, tags, count):
        """Not used: a node type here is nothing but resources and labels."""
        raise NotImplementedError

    def terminate_node(self, node_id):
        """End a node with all that runs on it."""
        with self._lock:
            cage = self._cages.pop(node_id)
            del self._tags[node_id]
        cage.communicate()

    def non_terminated_nodes(self, tag_filters):
        """Nodes whose tags are these."""
        with self._lock:
            return [name for name, tags in self._tags.items() if tag_filters.items() <= tags.items()]

    def node_tags(self, node_id):
        """What the autoscaler wrote on a node."""
        return self._tags[node_id]

    def set_node_tags(self, node_id, tags):
        """Write on a node."""
        self._tags[node_id].update(tags)

    def is_running(self, node_id):
        """Whether it was started and not ended."""
        return node_id in self._tags

    def is_terminated(self, node_id):
        """Whether it was ended."""
        return node_id not in self._tags

    def external_ip(self, node_id):
        """All are this machine."""
        return HOST

    internal_ip = external_ip

    @staticmethod
    def bootstrap_config(cluster_config):
        """Nothing to fill in."""
        return cluster_config
