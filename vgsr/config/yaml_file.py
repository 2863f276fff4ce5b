"""YAML as an experiment uses it: a text in, plain values out. Whoever wrote the text, reading it costs next to nothing.

What is refused (our definition): tags, dates and whatever else is no text, number, truth, list or mapping; a key that
is there twice or is no text; control characters; more than MOST_BYTES, MOST_VALUES (aliases counted as what they stand
for) or DEEPEST levels.
"""

import re
import stat
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 1 << 18
MOST_VALUES = 20_000
DEEPEST = 20
LONGEST_NUMBER = 40  # characters
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_TAG = "tag:yaml.org,2002:"
_SCALARS = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null")}
_KEYS = {f"{_TAG}str", f"{_TAG}merge"}


class ConfigError(Exception):
    """An experiment that cannot be run as written; the text says which key and what to do."""


def read(file: Path) -> Any:
    """The values in a file; ConfigError names it, the line and what is wrong there."""
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{file}: not a file")
        if found.st_size > MOST_BYTES:
            raise ConfigError(f"{file}: {found.st_size:,} bytes; no experiment is longer than {MOST_BYTES:,}")
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8") from error
    except ValueError as error:  # a byte 0 in its name
        raise ConfigError(f"{str(file)!r}: {error}") from error
    return parse(text, str(file))


def parse(text: str, where: str) -> Any:
    """The values in a text; ConfigError begins with `where`."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _measured(node, where, {}, set())
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {error}") from error
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which composes no more than DEEPEST levels."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f"nested more than {DEEPEST} levels deep")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _measured(node: yaml.Node, where: str, known: dict[int, tuple[int, int]], around: set[int]) -> tuple[int, int]:
    """How many values a node stands for, and on how many levels; what it may not hold is a ConfigError.

    known: what was measured of the nodes before it, by their ids; around: the nodes that hold it.
    """
    if id(node) in known:  # an alias
        return known[id(node)]
    at = f"{where}, line {node.start_mark.line + 1}"
    if id(node) in around:
        raise ConfigError(f"{at}: an alias to what holds it")
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node, at)
        size, depth = 1, 1
    else:
        around.add(id(node))
        inner = [_measured(child, where, known, around) for child in _children(node, at, where)]
        around.remove(id(node))
        size, depth = 1 + sum(one for one, _ in inner), 1 + max((deep for _, deep in inner), default=0)
    if size > MOST_VALUES:
        raise ConfigError(f"{at}: stands for more than {MOST_VALUES:,} values, aliases counted")
    if depth > DEEPEST:
        raise ConfigError(f"{at}: nested more than {DEEPEST} levels deep")
    known[id(node)] = size, depth
    return size, depth


def _children(node: yaml.Node, at: str, where: str) -> list[yaml.Node]:
    """What a list or a mapping holds, the keys of a mapping apart."""
    if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
        raise ConfigError(f"{at}: {_shown(node.tag)}: tags are not read; write plain values")
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    seen = set()
    for key, _ in node.value:
        line = f"{where}, line {key.start_mark.line + 1}"
        if key.tag not in _KEYS or not isinstance(key, yaml.ScalarNode):
            named = repr(_shown(key.value)) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            raise ConfigError(f"{line}: the key {named} is no text; put it in quotes")
        if CONTROL.search(key.value):
            raise ConfigError(f"{line}: the key {_shown(key.value)!r} has control characters in it")
        if key.value in seen:
            raise ConfigError(f"{line}: the key {_shown(key.value)!r} is there twice; leave one of them out")
        seen.add(key.value)
    return [value for _, value in node.value]


def _check_scalar(node: yaml.ScalarNode, at: str) -> None:
    if node.tag not in _SCALARS:
        written = f"{_shown(node.tag)} {_shown(node.value)!r}"
        raise ConfigError(f"{at}: {written} is no text, number or truth value; put it in quotes, without a tag")
    if node.tag in (f"{_TAG}int", f"{_TAG}float") and len(node.value) > LONGEST_NUMBER:
        raise ConfigError(f"{at}: a number of {len(node.value):,} digits")
    if CONTROL.search(node.value):
        raise ConfigError(f"{at}: {_shown(node.value)!r} has control characters in it")


def _shown(text: str) -> str:
    return text.removeprefix(_TAG) if len(text) < 80 else f"{text[:80]}…"
