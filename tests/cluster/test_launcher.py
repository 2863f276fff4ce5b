"""aws.yaml and gcp.yaml: what Ray's launcher, AWS's and Google's interfaces say of them, and what a search needs."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import botocore.session
import pytest
import ray
from botocore.validate import ParamValidator
from ray._private import label_utils
from ray._private.resource_and_label_spec import ResourceAndLabelSpec
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli

from vgsr.training.cluster import DRIVER_RESOURCE

from .strict import broken, documents, instance, strict, validator

FILES = ["aws.yaml", "gcp.yaml"]
# Mappings whose keys are names: of node types, of resources, of labels, of places.
NAMES = frozenset({"available_node_types", "resources", "labels", "file_mounts"})


@pytest.fixture(params=FILES)
def config(request):
    """A cluster file as Ray's launcher has it: read, and filled up with Ray's own defaults."""
    return prepare_config(documents(request.param)[0])


def launcher_schema():
    """Ray's own schema, in which `provider` knows no other keys than those it lists."""
    schema = json.loads(Path(ray.__file__).with_name("autoscaler").joinpath("ray-schema.json").read_text())
    schema["properties"]["provider"]["additionalProperties"] = False
    return schema


def machines(name):
    """Node type → what its cloud is sent, which Ray's schema leaves open."""
    return {kind: node["node_config"] for kind, node in documents(name)[0]["available_node_types"].items()}


@pytest.mark.parametrize("name", FILES)
def test_it_is_what_ray_calls_a_cluster(name):
    config = documents(name)[0]
    assert list(validator(launcher_schema()).iter_errors(config)) == []
    validate_config(prepare_config(config))


@pytest.mark.parametrize("name", FILES)
def test_a_broken_cluster_file_is_noticed(name):
    check = validator(launcher_schema())
    config = documents(name)[0]
    for node in config["available_node_types"].values():
        node["node_config"] = {}  # checked below
    unnoticed = [what for what, made in broken(config, NAMES) if check.is_valid(made)]
    # Lists of words for docker and places are just lists to Ray's schema.
    assert [what for what in unnoticed if "run_options/" not in what and "file_mounts/" not in what] == []


def test_aws_understands_every_machine():
    """botocore's model of EC2's RunInstances."""
    shape = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape

    def understood(node_config):
        return not ParamValidator().validate({**node_config, "MinCount": 1, "MaxCount": 1}, shape).has_errors()

    for kind, node_config in machines("aws.yaml").items():
        assert understood(node_config), kind
        assert [what for what, made in broken(node_config) if understood(made)] == []


def test_google_understands_every_machine():
    check = validator(instance())
    for kind, node_config in machines("gcp.yaml").items():
        assert list(check.iter_errors(node_config)) == [], kind
        assert [what for what, made in broken(node_config) if check.is_valid(made)] == []


def test_nothing_of_rays_defaults_is_left(config):
    """Ray's defaults install a nightly build, and open the dashboard to everybody."""
    commands = [text for key, part in config.items() if key.endswith("_commands") for text in part]
    assert not [text for text in commands if "pip install" in text or "0.0.0.0" in text]
    assert config["head_setup_commands"] == config["worker_setup_commands"] == config["setup_commands"]
    assert config["provider"]["cache_stopped_nodes"] is False


def test_the_head_is_safe_and_only_drivers_run_on_it(config):
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "GPU": 0, DRIVER_RESOURCE: 100}
    assert head["labels"]["ray.io/market-type"] == "on-demand"
    assert head["max_workers"] == 0
    assert "InstanceMarketOptions" not in head["node_config"] and "scheduling" not in head["node_config"]


def test_spot_goes_before_on_demand_and_both_down_to_none(config):
    nodes = config["available_node_types"]
    spot, on_demand = nodes["gpu_spot"], nodes["gpu_on_demand"]
    assert spot["priority"] > on_demand["priority"]
    assert spot["resources"] == on_demand["resources"] == {"CPU": 8, "GPU": 1}
    assert spot["min_workers"] == on_demand["min_workers"] == 0
    assert spot["max_workers"] + on_demand["max_workers"] <= config["max_workers"]
    assert config["idle_timeout_minutes"] > 0
    assert (spot["labels"]["ray.io/market-type"], on_demand["labels"]["ray.io/market-type"]) == ("spot", "on-demand")


def test_what_is_called_spot_is_spot():
    aws, gcp = machines("aws.yaml"), machines("gcp.yaml")
    assert aws["gpu_spot"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in aws["gpu_on_demand"]
    assert gcp["gpu_spot"]["scheduling"]["provisioningModel"] == "SPOT"
    assert gcp["gpu_on_demand"]["scheduling"].get("provisioningModel", "STANDARD") == "STANDARD"


def test_the_machine_in_the_label_is_the_machine():
    for name, key in (("aws.yaml", "InstanceType"), ("gcp.yaml", "machineType")):
        for node in documents(name)[0]["available_node_types"].values():
            assert node["labels"]["vgsr/machine"] == node["node_config"][key]


def test_every_machine_has_a_price_and_is_as_large_as_it_says():
    listed = documents("prices.yaml")[0]["machines"]
    for name in FILES:
        for node in documents(name)[0]["available_node_types"].values():
            machine = listed[node["labels"]["vgsr/machine"]]
            assert machine["provider"] == name.removesuffix(".yaml")
            assert node["resources"]["GPU"] == machine["gpus"]
            assert node["resources"]["CPU"] in (0, machine["cpus"])


@pytest.mark.parametrize("name", FILES)
def test_only_ours_may_be_reached_and_only_with_the_token(name):
    config = documents(name)[0]
    head = " ".join(config["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head and "mlflow server --host 127.0.0.1" in head
    assert "--env=RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@pytest.mark.parametrize("name", FILES)
def test_ray_start_has_these_options(name):
    """The options are read by Ray's own command line."""
    config = documents(name)[0]
    for text in config["head_start_ray_commands"] + config["worker_start_ray_commands"]:
        if "ray start" in text:
            words = text.replace("$RAY_HEAD_IP", "10.0.0.1").split("ray start", 1)[1].split()
            cli.commands["start"].make_context("start", words)


@pytest.mark.parametrize("name", FILES)
def test_a_node_of_ray_takes_its_resources_and_labels(name, monkeypatch):
    """The launcher hands them to `ray start` in the environment."""
    for node in documents(name)[0]["available_node_types"].values():
        monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", json.dumps(node["resources"]))
        monkeypatch.setenv("RAY_OVERRIDE_LABELS", json.dumps(node["labels"]))
        spec = ResourceAndLabelSpec().resolve(is_head=False, node_ip_address="10.0.0.2")
        assert node["labels"].items() <= spec.labels.items()
        taken = {"CPU": spec.num_cpus, "GPU": spec.num_gpus, **spec.resources}
        assert {key: taken[key] for key in node["resources"]} == node["resources"]
        assert label_utils.validate_node_label_syntax(node["labels"]) is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("side, program", [("head", "mlflow"), ("worker", "python")])
def test_what_is_started_beside_ray_stays_and_is_started_once(name, side, program, tmp_path):
    """The command line of the file, run twice as Ray's launcher runs it, with a stand-in for the program."""
    if not shutil.which("setsid") or not shutil.which("flock"):
        pytest.skip("no setsid or flock here")
    command = documents(name)[0][f"{side}_start_ray_commands"][-1].replace("/srv/vgsr", str(tmp_path))
    started, gate = tmp_path / "started", tmp_path / "gate"
    stand_in = tmp_path / program
    stand_in.write_text(f'#!/bin/sh\necho "$@" >> {started}\nuntil [ -e {gate} ]; do sleep 0.1; done\n')
    stand_in.chmod(0o755)
    for _ in range(2):
        done = subprocess.run(
            ["bash", "-c", f"export RAY_HEAD_IP=10.0.0.1; ({command})"],
            env={"PATH": f"{tmp_path}:/usr/local/bin:/usr/bin:/bin"},
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0 and not done.stderr, done
    deadline = time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    arguments = started.read_text().splitlines()
    gate.touch()  # until now it ran
    assert len(arguments) == 1
    if side == "head":
        from mlflow.cli import server

        context = server.make_context("server", arguments[0].split()[1:])
        assert context.params["host"] == "127.0.0.1"
        assert context.params["artifacts_destination"] == "s3://YOUR_BUCKET/mlflow"
    else:
        assert arguments == [f"/opt/vgsr/cluster/spot_watcher.py --provider={name.removesuffix('.yaml')}"]


@pytest.mark.parametrize("name", FILES)
def test_every_command_is_shell(name):
    config = documents(name)[0]
    for key, part in config.items():
        for text in part if key.endswith("_commands") else []:
            done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True)
            assert not done.stderr, text


def test_strict_means_strict():
    schema = strict({"type": "object", "properties": {"a": {"type": "string"}}})
    assert not validator(schema).is_valid({"b": 1})
