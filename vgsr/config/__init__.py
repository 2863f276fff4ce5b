"""The experiment and how it is read. Nothing here touches data, devices, Ray or MLflow."""

from vgsr.config.experiment import SIGNALS, Classification, Distill, Experiment, Student
from vgsr.config.part import Count, Part
from vgsr.config.reading import (
    ConfigError,
    build,
    load,
    nearest,
    override,
    overrides_in,
    parse_overrides,
    recipes,
    validated,
)

__all__ = [
    "SIGNALS",
    "Classification",
    "ConfigError",
    "Count",
    "Distill",
    "Experiment",
    "Part",
    "Student",
    "build",
    "load",
    "nearest",
    "override",
    "overrides_in",
    "parse_overrides",
    "recipes",
    "validated",
]
