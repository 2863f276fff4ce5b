"""aws_setup.py, then Ray's own AWS provider on what it made: against an AWS of this process. And the policies."""

import importlib.util
import json
import re
import time

import boto3
import botocore.client
import botocore.session
import pytest
from moto import mock_aws
from ray.autoscaler._private import commands
from ray.autoscaler._private.providers import _get_node_provider
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.tags import TAG_RAY_NODE_KIND, TAG_RAY_NODE_STATUS, TAG_RAY_USER_NODE_TYPE

from .strict import CLUSTER, Loader, yaml

POLICIES = ["head", "worker", "launcher"]
# Actions for which AWS knows no resource: its service authorization reference lists none.
EVERYWHERE = re.compile(r"ec2:Describe\w+|ecr:GetAuthorizationToken")
# Parts of an ARN that only exist once a machine does.
UNNAMED = ("instance/*", "volume/*", "network-interface/*", "subnet/*", "key-pair/ray-autoscaler*_us-east-1")


def policy(name):
    return json.loads((CLUSTER / f"aws-{name}-policy.json").read_text(encoding="utf-8"))


def allowed(name):
    """All actions that a policy allows."""
    return {action for statement in policy(name)["Statement"] for action in statement["Action"]}


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    """An AWS of this process. Ray's launcher writes the key of the machines under HOME."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield boto3.Session(region_name="us-east-1")


@pytest.fixture(scope="module")
def setup():
    """aws_setup.py as a module."""
    spec = importlib.util.spec_from_file_location("aws_setup", CLUSTER / "aws_setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(aws, setup, tmp_path_factory):
    """The cluster file that the setup writes; it runs twice, as somebody whose address has changed would."""
    image = aws.client("ec2").describe_images()["Images"][0]["ImageId"]
    out = tmp_path_factory.mktemp("made") / "aws.mine.yaml"
    for address in ("203.0.113.7/32", "203.0.113.8/32"):
        setup.main(["--bucket", "my-vgsr", "--address", address, "--ami", image, "--out", str(out)])
    return out


@pytest.fixture
def asked(monkeypatch):
    """Every call to EC2 and IAM from now on, as the action that a policy must allow."""
    calls, real = set(), botocore.client.BaseClient._make_api_call

    def call(self, operation, arguments):
        calls.add(f"{self.meta.service_model.service_name}:{operation}")
        return real(self, operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    return calls


def test_ray_launches_what_the_setup_made_and_the_policies_allow_it(aws, made, asked):
    text = made.read_text(encoding="utf-8")
    assert not re.search("YOUR_[A-Z]", text)
    config = commands._bootstrap_config(prepare_config(yaml.load(text, Loader)), no_config_cache=True)
    nodes = config["available_node_types"]
    assert nodes["head"]["resources"] == {"CPU": 0, "GPU": 0, "trial_driver": 100}  # Ray detects others
    groups = {group for node in nodes.values() for group in node["node_config"]["SecurityGroupIds"]}
    assert len(groups) == 1
    assert asked and asked <= allowed("launcher")

    asked.clear()
    provider = _get_node_provider(config["provider"], "vgsr", use_cache=False)
    for kind, node in nodes.items():
        provider.create_node(node["node_config"], {TAG_RAY_NODE_KIND: "worker", TAG_RAY_USER_NODE_TYPE: kind}, 1)
    names = provider.non_terminated_nodes({})
    provider.set_node_tags(names[0], {TAG_RAY_NODE_STATUS: "up-to-date"})
    until = time.monotonic() + 30
    while not any(call.endswith("CreateTags") for call in asked) and time.monotonic() < until:
        time.sleep(0.1)  # Ray tags in batches, in a thread
    running = [one for r in aws.client("ec2").describe_instances()["Reservations"] for one in r["Instances"]]
    provider.terminate_nodes(names)
    assert {"ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances"} <= asked
    assert asked <= allowed("head") and asked <= allowed("launcher")

    by_type = {tag["Value"]: one for one in running for tag in one["Tags"] if tag["Key"] == TAG_RAY_USER_NODE_TYPE}
    assert set(by_type) == {"head", "gpu_spot", "gpu_on_demand"}
    assert by_type["gpu_spot"]["InstanceLifecycle"] == "spot"
    assert "InstanceLifecycle" not in by_type["head"] and "InstanceLifecycle" not in by_type["gpu_on_demand"]
    # The head's policy goes by this tag.
    assert all({"Key": "ray-cluster-name", "Value": "vgsr"} in one["Tags"] for one in running)


def test_the_group_is_closed(aws, made):
    group = aws.client("ec2").describe_security_groups(
        GroupIds=yaml.load(made.read_text(), Loader)["available_node_types"]["head"]["node_config"]["SecurityGroupIds"]
    )["SecurityGroups"][0]
    ranges = {(rule.get("FromPort"), one["CidrIp"]) for rule in group["IpPermissions"] for one in rule["IpRanges"]}
    assert ranges == {(22, "203.0.113.7/32"), (22, "203.0.113.8/32")}
    within = [pair["GroupId"] for rule in group["IpPermissions"] for pair in rule["UserIdGroupPairs"]]
    assert within == [group["GroupId"]]


def test_the_roles_have_our_policies_and_no_others(aws, made):
    iam = aws.client("iam")
    for name, policies in (("vgsr-head", {"vgsr-head", "vgsr-worker"}), ("vgsr-worker", {"vgsr-worker"})):
        assert set(iam.list_role_policies(RoleName=name)["PolicyNames"]) == policies
        assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
        profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        assert [role["RoleName"] for role in profile["Roles"]] == [name]
        for policy_name in policies:
            document = iam.get_role_policy(RoleName=name, PolicyName=policy_name)["PolicyDocument"]
            assert "YOUR_" not in json.dumps(document)
    shut = aws.client("s3").get_public_access_block(Bucket="my-vgsr")["PublicAccessBlockConfiguration"]
    assert all(shut.values()) and len(shut) == 4


def test_another_region(aws, setup, tmp_path):
    out = tmp_path / "aws.mine.yaml"
    words = "--bucket eu-vgsr --address 203.0.113.7/32 --ami ami-0 --region eu-west-1 --out"
    setup.main([*words.split(), str(out)])
    text = out.read_text()
    assert "us-east-1" not in text and yaml.load(text, Loader)["provider"]["region"] == "eu-west-1"
    assert aws.client("s3").get_bucket_location(Bucket="eu-vgsr")["LocationConstraint"] == "eu-west-1"


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_names_what_can_be_named(name):
    document = policy(name)
    assert set(document) == {"Version", "Statement"} and document["Version"] == "2012-10-17"
    for statement in document["Statement"]:
        assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        assert statement["Effect"] == "Allow" and isinstance(statement["Action"], list)
        assert not [action for action in statement["Action"] if "*" in action]
        if statement["Resource"] == "*":
            assert all(EVERYWHERE.fullmatch(action) for action in statement["Action"]), statement
            continue
        for resource in statement["Resource"]:
            assert re.fullmatch(r"arn:aws:\w[\w-]*:[\w-]*:(YOUR_ACCOUNT)?:\S+", resource), resource
            assert "*" not in resource or resource.endswith((*UNNAMED, "YOUR_BUCKET/*")), resource
            if resource.endswith("instance/*"):
                assert "ray-cluster-name" in json.dumps(statement) or "ec2:CreateAction" in json.dumps(statement)


@pytest.mark.parametrize("name", POLICIES)
def test_every_action_exists(name):
    """Actions are operations of the service, with the exceptions that S3 and IAM make."""
    other = {"iam:PassRole", "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts"}
    session = botocore.session.get_session()
    for action in allowed(name) - other:
        service, operation = action.split(":")
        assert operation in session.get_service_model(service).operation_names, action


def test_what_storage_does_is_allowed():
    """The calls of vgsr.storage to S3, and the actions that AWS asks for them."""
    text = (CLUSTER.parent / "vgsr" / "storage" / "s3.py").read_text(encoding="utf-8")
    needs = {
        "get_object": {"s3:GetObject"},
        "head_object": {"s3:GetObject"},
        "put_object": {"s3:PutObject"},
        "upload_fileobj": {"s3:PutObject", "s3:AbortMultipartUpload"},
        "delete_object": {"s3:DeleteObject"},
        "list_objects_v2": {"s3:ListBucket"},
    }
    called = set(re.findall(r"_client\([^)]*\)\.(\w+)\(", text))
    assert called and set().union(*(needs[call] for call in called)) <= allowed("worker")
