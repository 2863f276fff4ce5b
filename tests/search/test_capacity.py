"""What a cluster holds: counted node by node, and as far as its autoscaler may let it grow."""

import sys

import pytest
import yaml
from ray.core.generated import autoscaler_pb2

from vgsr.search import bounds, capacity
from vgsr.search.bounds import Bounds, Kind
from vgsr.search.capacity import Capacity, Node

DRIVERS = {"trial_driver": 100.0}


def _node(cpus, gpus=0, **more):
    return Node({"CPU": float(cpus), **({"GPU": float(gpus)} if gpus else {}), **more}, {})


def _kind(count, cpus, gpus=0, **labels):
    return Kind({"CPU": float(cpus), **({"GPU": float(gpus)} if gpus else {})}, labels, count)


HEAD = _node(0, trial_driver=100.0)


@pytest.mark.parametrize(
    ("nodes", "train", "trials"),
    [
        ([_node(2, trial_driver=9.0)], {}, 2),
        ([_node(2)], {}, 1),  # the driver's sliver is taken from the second core
        ([_node(2.5)], {}, 2),
        ([_node(8, trial_driver=3.0)], {}, 3),  # as many as drivers have room
        ([_node(3, trial_driver=9.0)] * 2, {"cpus_per_worker": 2}, 2),  # a core of each is left over
        ([_node(3, trial_driver=9.0)] * 2, {"cpus_per_worker": 2, "workers": 2}, 1),
        ([_node(8, 1, trial_driver=9.0), _node(8, 2)], {"gpu": True}, 3),
        ([_node(2, 4, trial_driver=9.0)], {"gpu": True}, 2),  # its cores run out before its GPUs
        ([_node(8, 2), _node(8, 2)], {"gpu": True, "workers": 4}, 1),
        ([_node(0.3), _node(0.3)], {"cpus_per_worker": 0.1}, 5),  # six, were there no drivers
    ],
)
def test_how_many_trials_fit(tiny_experiment, nodes, train, trials):
    experiment = tiny_experiment({f"train.{key}": value for key, value in train.items()})
    found = Capacity(tuple(nodes))
    assert found.trials(experiment) == found.trials(experiment, most=False) == trials
    assert found.fitting(experiment) == trials
    assert found.most == found.now


def test_what_fits_nowhere_may_still_come(tiny_experiment):
    found = Capacity((_node(2), _node(2)))
    wants = tiny_experiment({"train.cpus_per_worker": 4})
    assert found.trials(wants) == 1
    assert found.fitting(wants) == 0


def test_an_autoscaler_that_starts_from_nothing(tiny_experiment):
    spot, steady = _kind(6, 8, 1, market="spot"), _kind(2, 8, 1, market="on-demand")
    found = Capacity((HEAD,), (spot, steady), 8)
    gpu = tiny_experiment({"train.gpu": True})
    assert found.trials(gpu, most=False) == 1 and found.fitting(gpu, most=False) == 0
    assert found.trials(gpu) == 8
    assert found.now == {"CPU": 0, **DRIVERS}
    assert found.most == {"CPU": 64, "GPU": 8, **DRIVERS}
    assert found.machines() == [{}, {"market": "spot"}, {"market": "on-demand"}]


def test_all_nodes_together_are_bounded(tiny_experiment):
    found = Capacity((HEAD,), (_kind(6, 64), _kind(6, 8, 4), _kind(6, 8, 1)), 3)
    assert found.trials(tiny_experiment({"train.gpu": True})) == 12  # three nodes of the kind with four
    assert found.most == {"CPU": 192, "GPU": 12, **DRIVERS}  # not both at once


def test_nodes_that_no_autoscaler_brought_count(tiny_experiment):
    found = Capacity((HEAD, _node(8, 4)), (_kind(2, 8, 1),), 2)
    assert found.trials(tiny_experiment({"train.gpu": True})) == 4
    assert found.most["GPU"] == 4


CONFIGURATION = {
    "max_workers": 3,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 0, "trial_driver": 100}, "node_config": {}},
        "gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 2, "labels": {"vgsr/machine": "g5.2xlarge"}},
        "cpu": {"resources": {"CPU": 16}},
    },
}


def test_an_autoscalers_configuration():
    assert bounds.parse(CONFIGURATION) == Bounds(
        (
            Kind({"CPU": 0, "trial_driver": 100}, {}, 0),
            Kind({"CPU": 8, "GPU": 1}, {"vgsr/machine": "g5.2xlarge"}, 2),
            Kind({"CPU": 16}, {}, 3),
        ),
        3,
    )
    assert bounds.parse({"cluster_name": "static"}) is None


@pytest.fixture
def connected(monkeypatch):
    """As if this process were connected to a head at 127.0.0.1:6379, whose state says nothing of its bounds."""
    context = type("Context", (), {"gcs_address": "127.0.0.1:6379"})()
    monkeypatch.setattr(bounds.ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(bounds.ray._private.state.state, "get_cluster_config", lambda: None)
    monkeypatch.delenv("RAY_CLUSTER_NAME", raising=False)


def test_the_file_of_this_clusters_autoscaler(connected, tmp_path, monkeypatch, caplog):
    own, other = tmp_path / "own.yaml", tmp_path / "other.yaml"
    own.write_text(yaml.safe_dump(CONFIGURATION, sort_keys=False))
    other.write_text(yaml.safe_dump({**CONFIGURATION, "max_workers": 99}))
    lines = [
        [sys.executable, "monitor.py", "--gcs-address=127.0.0.1:7777", f"--autoscaling-config={other}"],
        [sys.executable, "monitor.py", "--gcs-address=10.0.0.1:6379", f"--autoscaling-config={own}"],
        [],
    ]
    monkeypatch.setattr(bounds, "_commands", lambda: lines)
    assert bounds.bounds() == bounds.parse(CONFIGURATION)
    own.unlink()
    assert bounds.bounds() is None
    assert "what the cluster may grow to cannot be read" in caplog.text
    monkeypatch.setattr(bounds, "_commands", lambda: lines[:1])
    assert bounds.bounds() is None


def test_this_machines_processes_are_listed(connected):
    assert any(part.endswith("pytest") or "pytest" in part for line in bounds._commands() for part in line)


def test_what_a_platform_reports(connected, monkeypatch):
    reported = autoscaler_pb2.ClusterConfig()
    group = reported.node_group_configs.add(max_count=4, name="gpu")
    group.resources.update({"CPU": 8, "GPU": 2})
    reported.node_group_configs.add(max_count=-1, name="any").resources["CPU"] = 4
    monkeypatch.setattr(bounds.ray._private.state.state, "get_cluster_config", lambda: reported)
    found = bounds.bounds()
    assert [(dict(kind.resources), kind.count) for kind in found.kinds] == [
        ({"CPU": 8, "GPU": 2}, 4),
        ({"CPU": 4}, bounds.UNBOUNDED),
    ]


def test_a_raycluster_of_kuberay(connected, monkeypatch):
    """Asked of the Kubernetes API by Ray's own client, whose answer is made up here."""
    from ray.autoscaler._private.kuberay import node_provider

    pod = {"spec": {"containers": [{"resources": {"limits": {"cpu": "8", "nvidia.com/gpu": "1"}}}]}}
    group = {
        "groupName": "gpu",
        "replicas": 0,
        "minReplicas": 0,
        "maxReplicas": 5,
        "rayStartParams": {},
        "template": pod,
    }
    head = {"rayStartParams": {"num-cpus": "0"}, "template": {"spec": {"containers": [{}]}}}
    spec = {"enableInTreeAutoscaling": True, "headGroupSpec": head, "workerGroupSpecs": [group]}
    asked = []

    class Client:
        def __init__(self, namespace):
            asked.append(namespace)

        def get(self, path):
            asked.append(path)
            return {"metadata": {"namespace": "lab", "name": "vgsr"}, "spec": spec}

    monkeypatch.setattr(bounds, "_commands", lambda: [])
    monkeypatch.setattr(node_provider, "KubernetesHttpApiClient", Client)
    assert bounds.bounds() is None  # not in a pod
    for name, value in {
        "RAY_CLUSTER_NAME": "vgsr",
        "RAY_CLUSTER_NAMESPACE": "lab",
        "KUBERNETES_SERVICE_HOST": "k",
    }.items():
        monkeypatch.setenv(name, value)
    found = bounds.bounds()
    assert asked == ["lab", "rayclusters/vgsr"]
    gpus = [kind for kind in found.kinds if kind.resources.get("GPU")]
    assert [(kind.resources["CPU"], kind.resources["GPU"], kind.count) for kind in gpus] == [(8, 1, 5)]
    spec["enableInTreeAutoscaling"] = False
    assert bounds.bounds() is None


def test_nodes_as_ray_names_them(monkeypatch):
    monkeypatch.setattr(bounds, "bounds", lambda: None)
    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "node:10.0.0.2": 1.0}, "Labels": {"vgsr/machine": "m"}},
        {"Alive": False, "Resources": {"CPU": 99.0}, "Labels": {}},
        {"Alive": True, "Resources": {"CPU": 1.0, "node:10.0.0.1": 1.0, "node:__internal_head__": 1.0}, "Labels": {}},
    ]
    monkeypatch.setattr(capacity.ray, "nodes", lambda: nodes)
    assert capacity.capacity() == Capacity((Node({"CPU": 1.0}, {}), Node({"CPU": 8.0}, {"vgsr/machine": "m"})))
