"""Makes, once, what aws.yaml names: a private bucket, a registry for the image, a closed network group, two roles.

In: your AWS credentials, a bucket's name and the address you come from. Out: those things, and aws.mine.yaml beside
aws.yaml with YOUR_… filled in. Whatever is there already stays; run it again when your address has changed.

    python cluster/aws_setup.py --bucket my-vgsr --address 203.0.113.7/32
"""

import argparse
import json
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

HERE = Path(__file__).parent
REGION, CLUSTER = "us-east-1", "vgsr"  # as in the files
# Ubuntu with an NVIDIA driver and Docker; needs driver 580 or newer.
IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
EC2 = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
# The head does all that a worker does, and starts workers.
POLICIES = {"vgsr-worker": ["worker"], "vgsr-head": ["worker", "head"]}


def once(there: str, make: Any, **arguments: Any) -> bool:
    """Make something; False when AWS says, with one of these error codes, that it is there already."""
    try:
        make(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] not in there.split():
            raise
        return False
    return True


def bucket(s3: Any, name: str, region: str) -> None:
    """A bucket that is never public, and in which what a killed upload left does not cost for ever."""
    # The oldest region is the one that must not be named.
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    once("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket=name, **where)
    closed = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=dict.fromkeys(closed, True))
    rule = {
        "ID": "abandoned uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})


def security_group(ec2: Any, address: str) -> str:
    """The id of a group of the default network: all within it, SSH from one address, nothing else from outside."""
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not vpcs:
        raise SystemExit("this region has no default VPC; make one with `aws ec2 create-default-vpc`")
    vpc = vpcs[0]["VpcId"]
    of_it = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": [CLUSTER]}]
    found = ec2.describe_security_groups(Filters=of_it)["SecurityGroups"]
    if found:
        group: str = found[0]["GroupId"]
    else:
        group = ec2.create_security_group(GroupName=CLUSTER, Description="VGSR cluster", VpcId=vpc)["GroupId"]
    within = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": address}]}
    for rule in (within, ssh):
        there = "InvalidPermission.Duplicate"
        once(there, ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[rule])
    return group


def role(iam: Any, name: str, policies: dict[str, str]) -> None:
    """A role of EC2 machines with these policies (name → JSON), and the instance profile of the same name."""
    once("EntityAlreadyExists", iam.create_role, RoleName=name, AssumeRolePolicyDocument=json.dumps(EC2))
    for policy, document in policies.items():
        iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=document)
    if once("EntityAlreadyExists", iam.create_instance_profile, InstanceProfileName=name):
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def main(arguments: list[str] | None = None) -> Path:
    """Make all of it; returns the cluster file that was written."""
    parser = argparse.ArgumentParser(description="Make what cluster/aws.yaml names, and fill it in.")
    parser.add_argument("--bucket", required=True, help="name of the bucket for corpora, runs and artifacts")
    parser.add_argument("--address", required=True, help="who may come by SSH, as 203.0.113.7/32")
    parser.add_argument("--region", default=REGION)
    parser.add_argument("--ami", help="machine image; else Amazon's newest with an NVIDIA driver")
    parser.add_argument("--out", type=Path, default=HERE / "aws.mine.yaml")
    given = parser.parse_args(arguments)
    aws = boto3.Session(region_name=given.region)
    account = aws.client("sts").get_caller_identity()["Account"]
    bucket(aws.client("s3"), given.bucket, given.region)
    once("RepositoryAlreadyExistsException", aws.client("ecr").create_repository, repositoryName=CLUSTER)
    image = given.ami or aws.client("ssm").get_parameter(Name=IMAGE)["Parameter"]["Value"]
    values = {
        "YOUR_BUCKET": given.bucket,
        "YOUR_ACCOUNT": account,
        "YOUR_REGISTRY": f"{account}.dkr.ecr.{given.region}.amazonaws.com",
        "YOUR_AMI": image,
        "YOUR_SECURITY_GROUP": security_group(aws.client("ec2"), given.address),
        REGION: given.region,
    }

    def filled(name: str) -> str:
        text = (HERE / name).read_text(encoding="utf-8")
        for mark, value in values.items():
            text = text.replace(mark, value)
        return text

    iam = aws.client("iam")
    for name, policies in POLICIES.items():
        role(iam, name, {f"vgsr-{policy}": filled(f"aws-{policy}-policy.json") for policy in policies})
    # Spot machines need it in an account that never had one.
    once("InvalidInput EntityAlreadyExists", iam.create_service_linked_role, AWSServiceName="spot.amazonaws.com")
    given.out.write_text(filled("aws.yaml"), encoding="utf-8")
    print(f"wrote {given.out}; next: push the image to {values['YOUR_REGISTRY']}, then ray up {given.out}")
    out: Path = given.out
    return out


if __name__ == "__main__":
    main()
