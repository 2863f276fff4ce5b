"""Nothing secret in a file, nothing open to the world, and no mark left that a user is not told to fill in."""

import re

import pytest

from .strict import CLUSTER

FILES = {
    file.relative_to(CLUSTER).as_posix(): file.read_text(encoding="utf-8")
    for file in sorted(CLUSTER.rglob("*"))
    if file.is_file() and not {"__pycache__", "secrets"} & set(file.parts) and ".mine." not in file.name
}
# 0.0.0.0 as an address to listen on, and why it is not the world there.
LISTENING = {
    "kuberay/mlflow.yaml": "the pod's address; a policy lets in the namespace's pods only",
    "mlflow/compose.yaml": "inside the container; the port is published on 127.0.0.1",
}
SECRETS = {
    "an access key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a long hexadecimal or base64 word": r"(?<![\w/+=.-])(?:[0-9a-f]{32,}|[A-Za-z0-9+/]{40,}={0,2})(?![\w/+=.-])",
    "a password in an address": r"://[^\s/:@$'\"]+:(?!\$)[^\s/@]+@",
    "a value of a secret": r"(?i)(?:password|secret(?:_access)?_key|auth_?token|api_?key)[ \t]*[=:][ \t]*['\"]?"
    r"(?![$%/{~\[])\w{6,}",
}


def found(text):
    """What in a text looks like a secret."""
    return [what for what, pattern in SECRETS.items() if re.search(pattern, text)]


@pytest.mark.parametrize("name", FILES)
def test_no_secret(name):
    assert found(FILES[name]) == []


@pytest.mark.parametrize(
    "text",
    [
        "aws_access_key_id = AKIAABCDEFGHIJKLMNOP",
        "-----BEGIN RSA PRIVATE KEY-----",
        "token: " + "0a" * 32,
        "postgresql://mlflow:hunter22@postgres:5432/mlflow",
        "POSTGRES_PASSWORD: hunter22",
        "secret_access_key=abcdefgh",
    ],
)
def test_a_secret_would_be_found(text):
    assert found(text)


@pytest.mark.parametrize("name", FILES)
def test_only_what_is_explained_listens_on_every_address(name):
    lines = [line for line in FILES[name].splitlines() if "0.0.0.0" in line and not line.lstrip().startswith("#")]
    assert bool(lines) == (name in LISTENING), lines
    if name in LISTENING:
        assert re.search(r"#.*0\.0\.0\.0", FILES[name]), "say in the file why"
    assert "[::]" not in FILES[name]


def test_nothing_is_published_by_kubernetes():
    for name, text in FILES.items():
        assert not re.search(r"NodePort|LoadBalancer|hostNetwork|hostPort|privileged: true|kind: Ingress", text), name


def test_every_mark_is_explained_in_the_readme():
    """`YOUR_…` is the only form of what a user must fill in."""
    explained = set(re.findall(r"`(YOUR_[A-Z_]+)", FILES["README.md"]))
    used = {
        mark for name, text in FILES.items() for mark in re.findall(r"YOUR_[A-Z_]*[A-Z]", text) if name != "README.md"
    }
    assert used == explained
    other = re.compile(r"CHANGEME|REPLACE_?ME|TODO|FIXME|XXX|<[A-Z][A-Z_-]+>|\bexample\.com\b|my-bucket")
    assert {name: other.findall(text) for name, text in FILES.items() if other.search(text)} == {}


def test_addresses_of_the_readme_are_of_nobody():
    """203.0.113.0/24 is set aside for documents (RFC 5737)."""
    for name, text in FILES.items():
        for address in re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", text):
            private = re.match(r"127\.|10\.|169\.254\.169\.254|203\.0\.113\.|0\.0\.0\.0", address)
            assert private, f"{name}: {address}"
