"""What a cluster holds, now and at most: the resources of its nodes and the bounds of its autoscaler."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import ray

from vgsr.config import Experiment
from vgsr.search import bounds
from vgsr.training.cluster import DRIVER_RESOURCE

SLIVER = 0.01  # of a core, for a trial's driver where the cluster has no resource for drivers
_SLACK = 1e-6  # Ray counts resources in ten-thousandths


@dataclass(frozen=True)
class Node:
    """A node that is there, or one that may come."""

    resources: Mapping[str, float]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Capacity:
    """The nodes of a cluster, and the kinds that may join them: so many of each, `limit` in all beside the head.

    head: how many of the nodes count as none of those. Without an autoscaler no kinds are known.
    """

    nodes: tuple[Node, ...]
    kinds: tuple[bounds.Kind, ...] = ()
    limit: int = 0
    head: int = 1

    @property
    def now(self) -> dict[str, float]:
        """Resources of the nodes that are there."""
        return _sum(node.resources for node in self.nodes)

    @property
    def most(self) -> dict[str, float]:
        """Of each resource the most that there can be; not all of them at once. `now` without an autoscaler."""
        names = {name for kind in self.kinds for name in kind.resources} | set(self.now)
        return {name: _sum(node.resources for node in self._grown(_of(name))).get(name, 0.0) for name in names}

    def trials(self, experiment: Experiment, *, most: bool = True) -> int:
        """How many trials of this experiment to start at once: as many as fit, at least 1, as nodes may be added."""
        return max(1, self.fitting(experiment, most=most))

    def fitting(self, experiment: Experiment, *, most: bool = True) -> int:
        """How many trials of this experiment fit at once.

        Workers are counted node by node: one that needs four cores fits on no number of nodes with two.
        """
        train = experiment.train
        need = {"CPU": float(train.cpus_per_worker), **({"GPU": 1.0} if train.gpu else {})}

        def places(node: Node) -> float:
            return min(int(node.resources.get(name, 0.0) / amount + _SLACK) for name, amount in need.items())

        nodes = self._grown(places) if most else list(self.nodes)
        count = int(sum(map(places, nodes))) // train.workers
        held = _sum(node.resources for node in nodes)
        if DRIVER_RESOURCE in held:
            count = min(count, int(held[DRIVER_RESOURCE]))
        else:  # drivers take their sliver of what workers leave
            while count and count * (train.workers * need["CPU"] + SLIVER) > held.get("CPU", 0.0) + _SLACK:
                count -= 1
        return count

    def machines(self) -> list[Mapping[str, str]]:
        """The labels of the kinds of nodes that are there or may come, each once."""
        found = [*(node.labels for node in self.nodes), *(kind.labels for kind in self.kinds if kind.count)]
        return [labels for place, labels in enumerate(found) if labels not in found[:place]]

    def _grown(self, worth: Callable[[Node], float]) -> list[Node]:
        """The nodes when the cluster has grown to the most that is worth something: of kinds worth more first."""
        if not self.kinds:
            return list(self.nodes)
        nodes = [(Node(kind.resources, kind.labels), kind.count) for kind in self.kinds]
        grown, left = [], self.limit
        for node, count in sorted(nodes, key=lambda one: worth(one[0]), reverse=True):
            if worth(node):
                grown += [node] * min(count, left)
                left -= min(count, left)
        whole = [*self._heads(), *grown]
        return whole if sum(map(worth, whole)) > sum(map(worth, self.nodes)) else list(self.nodes)

    def _heads(self) -> list[Node]:
        return list(self.nodes[: self.head])


def capacity() -> Capacity:
    """That of the cluster this process is connected to."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    alive.sort(key=lambda node: "node:__internal_head__" not in node["Resources"])  # the head first
    nodes = tuple(Node(_shared(node["Resources"]), node.get("Labels") or {}) for node in alive)
    found = bounds.bounds()
    if found is None:
        return Capacity(nodes)
    return Capacity(nodes, found.kinds, found.nodes)


def _shared(resources: Mapping[str, float]) -> dict[str, float]:
    """Without the names of nodes, which every node offers as a resource."""
    return {name: value for name, value in resources.items() if not name.startswith("node:")}


def _sum(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    counter: Counter[str] = Counter()
    for part in parts:
        counter.update(part)
    return dict(counter)


def _of(name: str) -> Callable[[Node], float]:
    return lambda node: node.resources.get(name, 0.0)
