"""The experiment and how it is read. Nothing here touches data, devices, Ray or MLflow."""

from vgsr.config.experiment import SIGNALS, Count, Distill, Experiment, Part
from vgsr.config.reading import (
    ConfigError,
    build,
    load,
    nearest,
    override,
    overrides_in,
    parse_overrides,
    validated,
)

__all__ = [
    "SIGNALS",
    "ConfigError",
    "Count",
    "Distill",
    "Experiment",
    "Part",
    "build",
    "load",
    "nearest",
    "override",
    "overrides_in",
    "parse_overrides",
    "validated",
]
