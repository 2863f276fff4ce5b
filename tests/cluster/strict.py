"""The cluster files, and the schemas of others that they are held against, made strict: an unknown key is a mistake.

Kubernetes drops what it does not know without a word, so a misspelt key would never be noticed there.
"""

import copy
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

HERE = Path(__file__).parent
CLUSTER = HERE.parents[1] / "cluster"


class Loader(yaml.SafeLoader):
    """YAML in which a key said twice is an error, as it should be."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = {key for key in keys if keys.count(key) > 1}
        # A merged mapping holds the keys that it overrides in front of its own: only the first pass sees the file.
        if twice and not getattr(node, "seen", False):
            raise ValueError(f"line {node.start_mark.line + 1}: {', '.join(sorted(twice))} is said twice")
        node.seen = True
        return super().construct_mapping(node, deep)


def documents(name: str) -> list[Any]:
    """The documents of a YAML file of `cluster/`."""
    return list(yaml.load_all((CLUSTER / name).read_text(encoding="utf-8"), Loader))


def stored(name: str) -> Any:
    """A schema that `schemas.py` has written."""
    return json.loads(gzip.decompress((HERE / name).read_bytes()))


def strict(schema: Any) -> Any:
    """A schema in which an object with named properties has no others."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(part) for key, part in schema.items()}
    if isinstance(made.get("properties"), dict) and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def validator(schema: Any) -> jsonschema.protocols.Validator:
    """What checks values against a schema."""
    return jsonschema.Draft7Validator(schema)


def kuberay(kind: str) -> Any:
    """The strict schema of a RayCluster or a RayJob."""
    schema = strict(stored("kuberay.json.gz")[kind])
    schema["properties"]["metadata"] = metadata()
    return schema


def metadata() -> Any:
    """The metadata that our objects may have; a CRD leaves them open."""
    words = {"type": "object", "additionalProperties": {"type": "string"}}
    name = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,40}$"}
    properties = {"name": name, "namespace": {"const": "vgsr"}, "labels": words}
    return {"type": "object", "properties": properties, "additionalProperties": False, "required": ["name"]}


def instance() -> Any:
    """The strict schema of a Compute Engine instance."""
    document = strict(stored("compute.json.gz"))

    def json_schema(part: Any) -> Any:
        if isinstance(part, list):
            return [json_schema(one) for one in part]
        if not isinstance(part, dict):
            return part
        if isinstance(part.get("$ref"), str):
            return {"$ref": f"#/schemas/{part['$ref']}"}
        made = {key: json_schema(one) for key, one in part.items()}
        if made.get("type") == "string" and made.get("format") in ("int64", "uint64"):
            made["type"] = ["string", "integer"]  # both are understood
        return made

    return {**json_schema(document), "$ref": "#/schemas/Instance"}


def broken(value: Any, free: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    """(what was done, the value with it done): each key misspelt, each value of another type, one at a time.

    free: mappings that hold names of the user's; their keys are not misspelt, and strings in them stay strings.
    """
    for path in paths(value):
        where = "/".join(map(str, path))
        parent, key = path[:-1], path[-1]
        if isinstance(key, str) and not (parent and parent[-1] in free):
            made = copy.deepcopy(value)
            holder = at(made, parent)
            holder[key + "x"] = holder.pop(key)
            yield f"{where}: misspelt", made
        made = copy.deepcopy(value)
        holder = at(made, parent)
        holder[key] = {"wrong": []} if not isinstance(holder[key], dict) else ["wrong"]
        yield f"{where}: of another type", made


def paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield (*above, key)
        yield from paths(part, (*above, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """What lies at a path."""
    for key in path:
        value = value[key]
    return value
