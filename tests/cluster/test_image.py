"""The image, what a job brings along, and the compose file: versions, contents, and what reads them."""

import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import mlflow.environment_variables
import pytest
import ray
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ray._private.runtime_env import packaging
from ray.runtime_env import RuntimeEnv
from ray.scripts.scripts import cli
from sqlalchemy.engine import make_url

from .strict import CLUSTER, broken, documents, stored, validator

REPOSITORY = CLUSTER.parent
DOCKERFILE = (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(file):
    """Package → version of a file of pins; every line of it must be one."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    parts = [line.split("==") for line in lines]
    assert all(len(part) == 2 for part in parts), lines
    return {name.lower(): version for name, version in parts}


CONSTRAINTS = pins(REPOSITORY / "constraints.txt")


def texts():
    """(name, text) of every file of the folder."""
    for file in sorted(CLUSTER.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts and ".mine." not in file.name:
            yield file.relative_to(CLUSTER).as_posix(), file.read_text(encoding="utf-8")


def test_one_image_of_our_and_rays_version_everywhere():
    tag = f"{PROJECT['version']}-ray{CONSTRAINTS['ray']}"
    named = {(name, found) for name, text in texts() for found in re.findall(r"[\w./]+/vgsr:[\w.-]+[\w]", text)}
    wanted = {"aws.yaml", "gcp.yaml", "kuberay/rayjob.yaml", "kuberay/raycluster.yaml", "kuberay/mlflow.yaml"}
    assert {name for name, _ in named} >= wanted | {"mlflow/compose.yaml", "Dockerfile", "README.md"}
    assert {found for _, found in named} == {f"YOUR_REGISTRY/vgsr:{tag}"}


def test_the_image_holds_the_driver_of_every_database_it_is_told():
    urls = {(name, found) for name, text in texts() for found in re.findall(r"postgres[\w+]*://", text)}
    assert {name for name, _ in urls} == {"mlflow/compose.yaml", "kuberay/mlflow.yaml"}
    for name, url in urls:
        driver = make_url(url).get_driver_name()  # without one in the address it is SQLAlchemy's choice
        assert f"{driver}-binary" in pins(CLUSTER / "requirements.txt"), f"{name}: {driver}"


def test_versions_said_elsewhere_are_those_of_the_constraints():
    for name in ("raycluster", "rayjob"):
        spec = documents(f"kuberay/{name}.yaml")[0]["spec"]
        assert spec.get("rayClusterSpec", spec)["rayVersion"] == CONSTRAINTS["ray"]
    images = {found for _, text in texts() for found in re.findall(r"image: (postgres:\S+)", text)}
    assert images == {"postgres:17.6-bookworm"}
    assert "--version 1.7.0" in (CLUSTER / "README.md").read_text(encoding="utf-8")
    assert "v1.7.0" in stored("kuberay.json.gz")["origin"]


def test_the_image_is_pinned_and_takes_its_versions_from_the_constraints():
    [base] = re.findall(r"^FROM (\S+)$", DOCKERFILE, re.M)
    [version] = re.findall(r"^python:(3\.\d+\.\d+)-slim-bookworm$", base)
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)
    assert version.startswith("3.11.")  # for which the constraints were resolved
    installs = re.findall(r"pip install(.*)", DOCKERFILE)
    assert len(installs) == 2
    assert "-c constraints.txt" in installs[0] and "--no-deps" in installs[1]
    # What it holds beside them fits them: a package of both would be pinned twice.
    assert not set(pins(CLUSTER / "requirements.txt")) & set(CONSTRAINTS)
    direct = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert {name.lower() for name in direct} <= set(CONSTRAINTS)


def test_the_image_runs_as_nobody_and_holds_what_the_launcher_needs():
    lines = DOCKERFILE.splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000:1000"]
    assert lines.index("USER 1000:1000") > max(i for i, line in enumerate(lines) if line.startswith(("RUN", "COPY")))
    assert not [line for line in lines if line.startswith(("ENTRYPOINT", "EXPOSE", "ADD"))]  # `docker run … bash`
    assert {"openssh-client", "rsync", "wget"} <= set(DOCKERFILE.split())
    assert "HOME=/home/vgsr" in DOCKERFILE  # Ray looks for it in the image's settings, and takes /root without it


def test_what_is_copied_is_in_the_checkout_and_in_the_context():
    context = (CLUSTER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.M):
        *sources, _ = line.split()
        for source in sources:
            assert (REPOSITORY / source).exists(), source
            assert f"!{source.split('/')[0]}" in context
    assert context[1] == "*"


def test_what_the_nodes_run_is_in_the_image():
    for name, text in texts():
        for path in re.findall(r"/opt/vgsr/(\S+\.py)", text):
            assert (REPOSITORY / path).is_file(), f"{name}: {path}"


def test_ray_takes_the_runtime_env():
    values = documents("runtime_env.yaml")[0]
    made = RuntimeEnv(**values, working_dir="s3://bucket/package.zip")
    assert dict(made)["env_vars"] == values["env_vars"]
    # Ray reads these names and no others; a misspelt one would be taken without a word.
    train = "".join(file.read_text() for file in Path(ray.__file__).with_name("train").joinpath("v2").rglob("*.py"))
    for name in values["env_vars"]:
        assert f'"{name}"' in train or name in dir(mlflow.environment_variables), name


def test_a_job_brings_the_code_and_nothing_heavy(tmp_path):
    """Ray's own packing of a checkout with everything that may lie in one."""
    kept = [
        "vgsr/__init__.py",
        "vgsr/corpora/folder.py",
        "sweeps/margin_search.py",
        "cluster/runtime_env.yaml",
        "mine.yaml",
        "pyproject.toml",
    ]
    left = [".venv/bin/python", ".git/HEAD", "runs/mlflow.db", "corpora/mine/a.wav", "results/x/README.md"]
    left += ["tests/test_x.py", "cluster/aws.mine.yaml", "cluster/mlflow/secrets/postgres_password", "best.safetensors"]
    for name in kept + left:
        file = tmp_path / "checkout" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    packed = tmp_path / "package.zip"
    excludes = documents("runtime_env.yaml")[0]["excludes"]
    packaging.create_package(str(tmp_path / "checkout"), packed, include_gitignore=True, excludes=excludes)
    with zipfile.ZipFile(packed) as package:
        assert {name for name in package.namelist() if not name.endswith("/")} == set(kept)


def test_the_compose_file_is_one():
    [document] = documents("mlflow/compose.yaml")
    schema = {key: part for key, part in stored("compose.json.gz").items() if key not in ("$id", "$schema")}
    check = validator(schema)
    assert list(check.iter_errors(document)) == []
    names = frozenset({"services", "environment", "networks", "volumes", "secrets", "depends_on", "postgres", "mlflow"})
    unnoticed = [what for what, made in broken(document, names) if check.is_valid(made)]
    # Compose takes lists and mappings, words and numbers for one another in these, and a network without settings.
    loose = ("networks: misspelt", "outside: of another type", "environment", "depends_on: of another type")
    assert [what for what in unnoticed if not any(part in what for part in loose)] == []


def test_compose_refers_to_what_it_declares():
    [document] = documents("mlflow/compose.yaml")
    for service in document["services"].values():
        assert set(service["networks"]) <= set(document["networks"])
        assert set(service.get("secrets", [])) <= set(document["secrets"])
        assert set(service.get("depends_on", {})) <= set(document["services"])
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(document["volumes"])
    assert all(set(secret) == {"file"} for secret in document["secrets"].values())
    assert document["networks"]["database"] == {"internal": True}


def test_compose_binds_to_loopback_and_mlflow_understands_its_command():
    from mlflow.cli import server

    services = documents("mlflow/compose.yaml")[0]["services"]
    published = {name: service.get("ports", []) for name, service in services.items()}
    assert published == {"mlflow": ["127.0.0.1:5000:5000"], "postgres": []}
    shell, flag, script = services["mlflow"]["command"]
    assert (shell, flag) == ("sh", "-c")
    script = script.replace("$$", "$")
    assert subprocess.run(["sh", "-n", "-c", script], capture_output=True).returncode == 0
    arguments = shlex.split(script.split("exec mlflow server", 1)[1])
    params = server.make_context("server", arguments).params
    assert params["allowed_hosts"] == "127.0.0.1:*,localhost:*" and params["artifacts_destination"].startswith("s3://")


@pytest.mark.parametrize("command", ["get-auth-token", "up", "down", "attach", "exec", "dashboard", "drain-node"])
def test_rays_command_line_has_it(command):
    assert command in cli.commands


def readme_commands():
    """The commands of the README's code blocks."""
    text = (CLUSTER / "README.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    for line in lines:
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        for stop in ("&&", ">", "|"):
            words = words[: words.index(stop)] if stop in words else words
        yield words


@pytest.mark.parametrize("words", [pytest.param(w, id=" ".join(w[:3])) for w in readme_commands() if w[0] == "ray"])
def test_rays_command_line_understands_the_readme(words):
    command = cli.commands[words[1]]
    rest = words[2:]
    if words[1] == "job":
        command, rest = command.commands[rest[0]], rest[1:]
    context = command.make_context(words[1], rest)
    if words[1:3] == ["job", "submit"]:
        entry = context.params["entrypoint"]
        assert entry[0] == "python" and (REPOSITORY / entry[1]).is_file()
        assert context.params["runtime_env"] == "cluster/runtime_env.yaml" and context.params["working_dir"] == "."


def test_the_other_commands_of_the_readme():
    from typer.main import get_command

    from vgsr.cli import app

    ours = get_command(getattr(app, "app", app)).commands
    files = {word for words in readme_commands() for word in words if word.startswith("cluster/")}
    made = {"cluster/aws.mine.yaml"}
    assert [word for word in files - made if not (REPOSITORY / word).exists()] == []
    assert [words for words in readme_commands() if words[0] == "vgsr" and words[1] not in ours] == []


def test_setup_scripts_are_shell():
    done = subprocess.run(["bash", "-n", CLUSTER / "gcp-setup.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([sys.executable, CLUSTER / "aws_setup.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--address" in done.stdout
