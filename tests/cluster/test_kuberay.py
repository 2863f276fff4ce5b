"""The files for Kubernetes, against KubeRay's own definitions made strict, and as Ray's autoscaler reads them."""

import json
import shlex

import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.scripts.scripts import cli

from vgsr.training.cluster import DRIVER_RESOURCE

from .strict import CLUSTER, broken, documents, kuberay, metadata, stored, strict, validator

KINDS = {"kuberay/raycluster.yaml": "RayCluster", "kuberay/rayjob.yaml": "RayJob"}
# Mappings whose keys are names of the user's: labels, resources, Ray's own options.
NAMES = frozenset({"labels", "matchLabels", "rayStartParams", "nodeSelector", "requests", "limits"})


def cluster():
    return documents("kuberay/raycluster.yaml")[0]


def job():
    return documents("kuberay/rayjob.yaml")[0]


@pytest.mark.parametrize("name, kind", KINDS.items())
def test_kuberay_knows_every_field(name, kind):
    [document] = documents(name)
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", kind)
    assert list(validator(kuberay(kind)).iter_errors(document)) == []


@pytest.mark.parametrize("name, kind", KINDS.items())
def test_a_broken_field_is_noticed(name, kind):
    check = validator({**kuberay(kind), "required": ["apiVersion", "kind", "metadata", "spec"]})
    assert [what for what, made in broken(documents(name)[0], NAMES) if check.is_valid(made)] == []


def plain():
    """Kind → strict schema of the plain objects of ours, put together of what a RayCluster holds of Kubernetes."""
    spec = strict(stored("kuberay.json.gz")["RayCluster"])["properties"]["spec"]["properties"]
    pod = spec["workerGroupSpecs"]["items"]["properties"]["template"]
    pod["properties"]["metadata"] = {**metadata(), "required": []}
    volumes = pod["properties"]["spec"]["properties"]["volumes"]["items"]["properties"]
    claim = volumes["ephemeral"]["properties"]["volumeClaimTemplate"]["properties"]["spec"]
    service = spec["headGroupSpec"]["properties"]["headService"]["properties"]["spec"]
    rules = spec["networkPolicy"]["properties"]["head"]["properties"]["ingressRules"]
    selector = rules["items"]["properties"]["from"]["items"]["properties"]["podSelector"]

    def having(**properties):
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def needing(schema, *names):
        return {**schema, "required": [*names]}

    one = {"const": 1}
    word = {"type": "string"}
    run = {"replicas": one, "selector": needing(selector, "matchLabels"), "template": pod}
    claims = {"type": "array", "items": needing(having(metadata=metadata(), spec=claim), "metadata", "spec")}
    policy = having(podSelector=selector, policyTypes={"const": ["Ingress"]}, ingress=rules)
    specs = {
        "Service": needing(service, "selector", "ports"),
        "Deployment": needing(having(**run, strategy=having(type={"const": "Recreate"})), *run, "strategy"),
        "StatefulSet": needing(having(**run, serviceName=word, volumeClaimTemplates=claims), *run, "serviceName"),
        "NetworkPolicy": needing(policy, "podSelector", "policyTypes"),
        "PersistentVolumeClaim": needing(claim, "accessModes", "resources"),
    }
    made = {kind: having(apiVersion=word, kind=word, metadata=metadata(), spec=part) for kind, part in specs.items()}
    made = {kind: needing(part, "apiVersion", "kind", "metadata", "spec") for kind, part in made.items()}
    made["Namespace"] = needing(having(apiVersion=word, kind=word, metadata=metadata()), "apiVersion", "metadata")
    return made


PLAIN = ["kuberay/mlflow.yaml", "kuberay/namespace.yaml"]
VERSIONS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "NetworkPolicy": "networking.k8s.io/v1"}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_objects(name):
    schemas = plain()
    for document in documents(name):
        kind = document["kind"]
        assert document["apiVersion"] == VERSIONS.get(kind, "v1")
        check = validator(schemas[kind])
        assert list(check.iter_errors(document)) == [], document["metadata"]
        unnoticed = [what for what, made in broken(document, NAMES) if check.is_valid(made)]
        # A service's selector holds labels of the user's; that they are those of its pods is tested below.
        assert [what for what in unnoticed if what != "spec/selector/app: misspelt"] == [], document["metadata"]


def pods():
    """(where, pod template) of every pod that our files make."""
    spec = cluster()["spec"]
    yield "head", spec["headGroupSpec"]["template"]
    for group in spec["workerGroupSpecs"]:
        yield group["groupName"], group["template"]
    yield "submitter", job()["spec"]["submitterPodTemplate"]
    for document in documents("kuberay/mlflow.yaml"):
        if "template" in document.get("spec", {}):
            yield document["metadata"]["name"], document["spec"]["template"]


@pytest.mark.parametrize("where, template", [pytest.param(*pod, id=pod[0]) for pod in pods()])
def test_a_pod_is_locked_and_has_what_it_asks_for(where, template):
    spec = template["spec"]
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for container in spec["containers"]:
        resources = container["resources"]
        assert resources["requests"] == resources["limits"]
        locked = {**spec.get("securityContext", {}), **container["securityContext"]}
        assert locked["runAsNonRoot"] is True and locked["runAsUser"] > 0
        assert locked["allowPrivilegeEscalation"] is False and locked["capabilities"] == {"drop": ["ALL"]}
        assert locked["seccompProfile"] == {"type": "RuntimeDefault"}
        for mount in container.get("volumeMounts", []):
            assert mount["name"] in volumes | {"data"}  # `data` is the claim of PostgreSQL
        for variable in container.get("env", []):
            if "PASSWORD" in variable["name"] and not variable["name"].endswith("_FILE"):
                assert "secretKeyRef" in variable["valueFrom"]
    if where not in ("head",):  # KubeRay's autoscaler runs in the head's pod, and speaks with Kubernetes
        assert spec["automountServiceAccountToken"] is False


def test_rays_autoscaler_reads_the_groups():
    nodes = _derive_autoscaling_config_from_ray_cr(cluster())["available_node_types"]
    assert nodes["headgroup"]["resources"]["CPU"] == 0
    assert nodes["headgroup"]["resources"][DRIVER_RESOURCE] == 100
    spot, on_demand = nodes["gpu-spot"], nodes["gpu-on-demand"]
    assert spot["resources"]["GPU"] == on_demand["resources"]["GPU"] == 1
    assert spot["priority"] > on_demand["priority"]
    assert spot["min_workers"] == on_demand["min_workers"] == 0 < spot["max_workers"]
    assert (spot["labels"]["ray.io/market-type"], on_demand["labels"]["ray.io/market-type"]) == ("spot", "on-demand")
    machines = documents("prices.yaml")[0]["machines"]
    for node in nodes.values():
        machine = machines[node["labels"]["vgsr/machine"]]
        assert node["resources"].get("GPU", 0) == machine["gpus"] and node["resources"]["CPU"] <= machine["cpus"]


def test_ray_start_understands_its_parameters():
    """As KubeRay puts them on its command line."""
    spec = cluster()["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        params, labels = group["rayStartParams"], group["labels"]
        assert params  # KubeRay writes the labels into this mapping, which must be there
        words = [f"--{key}" if value == "true" else f"--{key}={value}" for key, value in params.items()]
        text = " ".join(["--block", *words, "--labels=" + ",".join(f"{key}={value}" for key, value in labels.items())])
        context = cli.commands["start"].make_context("start", shlex.split(text))
        if "resources" in params:
            assert json.loads(context.params["resources"]) == {DRIVER_RESOURCE: 100}


def test_a_drain_fits_into_the_grace_of_its_pod():
    for group in cluster()["spec"]["workerGroupSpecs"]:
        spec = group["template"]["spec"]
        environment = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}
        drain = int(environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert 30 < drain < spec["terminationGracePeriodSeconds"]
        assert group["template"]["spec"].get("restartPolicy", "Never") == "Never"  # autoscaler v2


def test_the_cluster_asks_for_the_token_and_scales_by_v2():
    spec = cluster()["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"] is True and spec["autoscalerOptions"]["version"] == "v2"


def test_the_job_is_the_search_on_the_same_cluster():
    spec = job()["spec"]
    assert spec["rayClusterSpec"] == cluster()["spec"]
    assert spec["backoffLimit"] > 0 and "storage=s3://" in spec["entrypoint"]  # a new cluster finds the old search
    assert spec["shutdownAfterJobFinishes"] is True
    assert json.loads(spec["entrypointResources"]) == {DRIVER_RESOURCE: 1}
    wanted = documents("runtime_env.yaml")[0]["env_vars"]
    assert yaml.safe_load(spec["runtimeEnvYAML"]) == {"env_vars": wanted}
    program, script, *settings = shlex.split(spec["entrypoint"])
    assert program == "python" and (CLUSTER.parent / script.removeprefix("/opt/vgsr/")).is_file()
    from vgsr.search.plan import Settings

    assert {setting.split("=")[0] for setting in settings} <= set(Settings.model_fields)


def test_mlflow_is_reached_by_the_namespace_alone_and_its_database_by_mlflow():
    found = {(one["kind"], one["metadata"]["name"]): one["spec"] for one in documents("kuberay/mlflow.yaml")}
    for name in ("mlflow", "postgres"):
        pods = found[{"mlflow": "Deployment", "postgres": "StatefulSet"}[name], name]
        policy, service = found["NetworkPolicy", name], found["Service", name]
        labels = pods["template"]["metadata"]["labels"]
        assert pods["selector"]["matchLabels"] == policy["podSelector"]["matchLabels"] == service["selector"] == labels
        assert service.get("type", "ClusterIP") == "ClusterIP"
        [rule] = policy["ingress"]
        assert [port["port"] for port in rule["ports"]] == [port["port"] for port in service["ports"]]
        assert not [peer for peer in rule["from"] if set(peer) != {"podSelector"}]  # this namespace only
    assert found["NetworkPolicy", "postgres"]["ingress"][0]["from"] == [
        {"podSelector": {"matchLabels": {"app": "mlflow"}}}
    ]
    [claim] = found["StatefulSet", "postgres"]["volumeClaimTemplates"]
    mounts = found["StatefulSet", "postgres"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert claim["metadata"]["name"] in {mount["name"] for mount in mounts}


def test_the_namespace_is_closed():
    policies = [one for one in documents("kuberay/namespace.yaml") if one["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress"]} in [policy["spec"] for policy in policies]
    [claim] = [one for one in documents("kuberay/namespace.yaml") if one["kind"] == "PersistentVolumeClaim"]
    volumes = cluster()["spec"]["headGroupSpec"]["template"]["spec"]["volumes"]
    assert {"claimName": claim["metadata"]["name"]} in [volume.get("persistentVolumeClaim") for volume in volumes]


def test_mlflow_understands_its_arguments():
    from mlflow.cli import server

    [deployment] = [one for one in documents("kuberay/mlflow.yaml") if one["kind"] == "Deployment"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["mlflow", "server"]
    params = server.make_context("server", list(container["args"])).params
    assert "mlflow:5000" in params["allowed_hosts"].split(",") and "*" not in params["allowed_hosts"].split(",")
    variables = {one["name"] for one in container["env"]}
    assert {option.envvar for option in server.params if option.name == "backend_store_uri"} <= variables
