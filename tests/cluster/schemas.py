"""Writes the schemas that the cluster files are held against: what others publish, cut down to what is needed here.

    python tests/cluster/schemas.py KUBERAY_CHECKOUT COMPOSE_CHECKOUT GOOGLE_API_WHEEL

In: checkouts of github.com/ray-project/kuberay and github.com/compose-spec/compose-spec, the wheel
google_api_python_client; all are under the Apache License 2.0. Out: `kuberay.json.gz` (the OpenAPI schemas of the CRDs
RayCluster and RayJob, v1), `compose.json.gz` and `compute.json.gz` (Google's own description of a Compute Engine
instance), without their descriptions; each says where it is from.
"""

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
KUBERAY = "v1.7.0"
COMPOSE = "170098ba07d9f53c383a41bfd4c5166b0a4529a6"
LICENCE = "Apache License 2.0"


def bare(schema: Any) -> Any:
    """A schema without what only people read."""
    if isinstance(schema, list):
        return [bare(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    said = ("description", "enumDescriptions", "title")
    return {key: bare(part) for key, part in schema.items() if key not in said or isinstance(part, dict)}


def store(name: str, content: dict[str, Any]) -> None:
    """Write compact JSON; the same content gives the same bytes."""
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    (HERE / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def kuberay(checkout: str) -> dict[str, Any]:
    """Kind → OpenAPI schema of its v1."""
    found: dict[str, Any] = {"origin": f"github.com/ray-project/kuberay {KUBERAY}, {LICENCE}"}
    for name in ("rayclusters", "rayjobs"):
        text = shown(checkout, f"{KUBERAY}:helm-chart/kuberay-operator/crds/ray.io_{name}.yaml")
        definition = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        versions = {version["name"]: version["schema"]["openAPIV3Schema"] for version in definition["spec"]["versions"]}
        found[definition["spec"]["names"]["kind"]] = bare(versions["v1"])
    return found


def compose(checkout: str) -> dict[str, Any]:
    """The schema of a compose file."""
    schema: dict[str, Any] = bare(json.loads(shown(checkout, f"{COMPOSE}:schema/compose-spec.json")))
    return {**schema, "origin": f"github.com/compose-spec/compose-spec {COMPOSE}, {LICENCE}"}


def shown(checkout: str, file: str) -> bytes:
    """A file of a checkout, VERSION:PATH."""
    return subprocess.run(["git", "-C", checkout, "show", file], capture_output=True, check=True).stdout


def compute(wheel: str) -> dict[str, Any]:
    """The schemas that an instance refers to, by name."""
    with zipfile.ZipFile(wheel) as packed:
        document = json.loads(packed.read("googleapiclient/discovery_cache/documents/compute.v1.json"))
    wanted, schemas = ["Instance"], {}
    while wanted:
        name = wanted.pop()
        if name not in schemas:
            schemas[name] = bare(document["schemas"][name])
            wanted += referred(schemas[name])
    return {"origin": f"Compute Engine API v1, revision {document['revision']}, {LICENCE}", "schemas": schemas}


def referred(schema: Any) -> list[str]:
    """The names of the schemas that a schema refers to."""
    if isinstance(schema, list):
        return [name for part in schema for name in referred(part)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [name for part in schema.values() for name in referred(part)]


if __name__ == "__main__":
    store("kuberay.json.gz", kuberay(sys.argv[1]))
    store("compose.json.gz", compose(sys.argv[2]))
    store("compute.json.gz", compute(sys.argv[3]))
