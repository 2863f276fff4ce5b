"""Reading experiments.

In: a YAML file and `key.sub=value` overrides. Out: an `Experiment`, or a ConfigError that names the key, the file and
the nearest valid name.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import ValidationError

from vgsr.config import yaml_file
from vgsr.config.experiment import Experiment
from vgsr.config.part import Part
from vgsr.config.yaml_file import ConfigError

P = TypeVar("P", bound=Part)

MOST_MISTAKES = 20  # that one message lists
NAME = re.compile(r"[A-Za-z0-9_-]+")
RECIPES = Path(__file__).parents[1] / "recipes"
MOST_BASES = 4  # that follow one another


def load(file: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """The experiment in a YAML file, or a recipe by its name, with `key.sub=value` overrides.

    Paths in a file are relative to it. Where it names another file, or a recipe, as its `base`, it says only what it
    changes of that one.
    """
    file = Path(file)
    if NAME.fullmatch(str(file)) and not file.exists():
        if str(file) not in recipes():
            raise ConfigError(f"{file}: neither a file nor a recipe{nearest(str(file), recipes())}")
        file = RECIPES / f"{file}.yaml"
    return build(_read(file, ()), parse_overrides(overrides), where=str(file))


def recipes() -> list[str]:
    """Names of the recipes that VGSR comes with, in order."""
    return sorted(file.stem for file in RECIPES.glob("*.yaml"))


def _read(file: Path, after: tuple[Path, ...]) -> dict[str, Any]:
    """The values of a file and of its bases; `after`: the files that brought us here."""
    values = yaml_file.read(file)
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: an experiment is a mapping of keys, this is {type(values).__name__}")
    folder = file.absolute().parent
    _resolve_paths(values, folder)
    if "base" not in values:
        return values
    base = values.pop("base")
    if not isinstance(base, str) or not base:
        raise ConfigError(f"{file}: base: the path of another experiment's YAML, not {base!r}")
    after = (*after, file.resolve())
    below = RECIPES / f"{base}.yaml" if base in recipes() else Path(_absolute(base, folder))
    if below.resolve() in after or len(after) > MOST_BASES:
        raise ConfigError(f"{file}: base: {below} leads back here, or through more than {MOST_BASES} files")
    return _merged(_read(below, after), values)


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Sections are merged; whatever else stands in `changes`, a list too, takes the place of the base's."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def build(
    values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, where: str = "experiment"
) -> Experiment:
    """An experiment from nested `values` and flat `overrides` (`{"train.epochs": 3}`); ConfigError names the key."""
    merged = json.loads(json.dumps(values))
    for key, value in (overrides or {}).items():
        _set(merged, key, value)
    return validated(Experiment, merged, where)


def validated(model: type[P], values: Mapping[str, Any], where: str) -> P:
    """`values` as a `model`; ConfigError with a line for every mistake in them."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        lines = [_explain(problem, model, values) for problem in problems[:MOST_MISTAKES]]
        lines += [f"… and {len(problems) - MOST_MISTAKES:,} more"] * (len(problems) > MOST_MISTAKES)
        raise ConfigError("\n".join(f"{where}: {line}" for line in lines)) from error


def override(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """A copy of the experiment with flat `changes` applied and everything checked again."""
    return build(experiment.model_dump(mode="json"), changes, where="override")


def overrides_in(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial's configuration changes of its experiment; its other keys are a search space's own names."""
    return {key: value for key, value in chosen.items() if key.partition(".")[0] in Experiment.model_fields}


def parse_overrides(arguments: Iterable[str]) -> dict[str, Any]:
    """`["train.epochs=3"]` → `{"train.epochs": 3}`; values are read as YAML."""
    changes: dict[str, Any] = {}
    for argument in arguments:
        key, sign, text = argument.partition("=")
        if not sign or not key:
            raise ConfigError(f"override {argument!r} is not of the form key.sub=value")
        changes[key] = yaml_file.parse(text, f"override {argument!r}")
    return changes


PATH_KEYS = (
    ("corpus", "manifest"),
    ("student", "start"),
    ("teacher", "bank"),
    ("augment", "noise"),
    ("augment", "rirs"),
    ("evaluate", "manifests"),
    ("evaluate", "noise"),
)


def _resolve_paths(values: dict[str, Any], folder: Path) -> None:
    """Make the paths of an experiment absolute, in place: relative ones mean `folder`'s."""
    for section, key in PATH_KEYS:
        part = values.get(section)
        if not isinstance(part, dict):
            continue
        value = part.get(key)
        if isinstance(value, list):
            part[key] = [_absolute(item, folder) for item in value]
        elif value is not None:
            part[key] = _absolute(value, folder)


def _absolute(value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or "://" in value:
        return value
    return os.path.normpath(folder / Path(value).expanduser())


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about a misspelt name: `; did you mean 'x'?`, or the names there are."""
    names = sorted(names)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there is {', '.join(names) or 'none'}"


def _explain(problem: Any, model: type[Part], values: Mapping[str, Any]) -> str:
    # A single distillation is written without its place in the list.
    single = not isinstance(values.get("distill"), list | tuple)
    place = [
        part for part in problem["loc"] if not (single and isinstance(part, int) and problem["loc"][0] == "distill")
    ]
    key = ".".join(str(part) for part in place)
    if problem["type"] == "extra_forbidden":
        *section, name = place
        return f"unknown key {key!r}{nearest(str(name), _keys_at(model, section))}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    given = repr(problem["input"])
    return f"{key}: {message} (it is {given if len(given) < 200 else f'{given[:200]}…'})" if key else message


def _keys_at(model: Any, section: list[str | int]) -> list[str]:
    for name in section:
        if isinstance(name, str):
            model = model.model_fields[name].annotation
            model = get_args(model)[0] if get_origin(model) is tuple else model
    return list(model.model_fields)


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    inner: Any = values
    *sections, name = key.split(".")
    for section in sections:
        inner = _inside(inner, section, key) if isinstance(inner, list) else inner.setdefault(section, {})
        if not isinstance(inner, dict | list):
            raise ConfigError(f"override {key!r}: {section!r} is a value, not a section")
    if isinstance(inner, list):
        _inside(inner, name, key)
        inner[int(name)] = value
    else:
        inner[name] = value


def _inside(items: list[Any], place: str, key: str) -> Any:
    if not place.isdigit() or int(place) >= len(items):
        raise ConfigError(f"override {key!r}: a list of {len(items)} stands there; say which, 0 to {len(items) - 1}")
    return items[int(place)]
