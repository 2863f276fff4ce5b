"""What an hour of a machine costs: `cluster/prices.yaml` in, the price of a worker's share of its node out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

import vgsr
from vgsr.config import ConfigError, Part, validated, yaml_file
from vgsr.config.part import Positive

MACHINE = "vgsr/machine"  # label of a node: which machine of the price list it is
MARKET = "ray.io/market-type"  # label of a node, Ray's own: `spot` or `on-demand`
SPOT, ON_DEMAND = "spot", "on-demand"


class Machine(Part):
    """A line of the price list; prices are an hour of the whole machine, in the list's currency."""

    provider: Literal["aws", "gcp", "own"]
    cpus: Positive
    gpus: float = Field(ge=0)
    gpu: str | None = None  # its kind
    on_demand: Positive
    spot: Positive | None = None  # typical; none = it is not rented so

    def hour(self, market: str) -> float | None:
        """An hour of all of it; None for a market that it has no price on."""
        return {SPOT: self.spot, ON_DEMAND: self.on_demand}.get(market)

    def share(self, cpus: float, gpus: float) -> float:
        """The share of it that a worker takes, at most 1: by GPUs, and by CPUs for a worker without one."""
        return min(1.0, gpus / self.gpus if gpus and self.gpus else cpus / self.cpus)

    def fits(self, cpus: float, gpus: float) -> bool:
        """Whether such a worker can run on it; one without a GPU is not put on a machine with GPUs."""
        return cpus <= self.cpus and gpus <= self.gpus and bool(gpus) == bool(self.gpus)


class _File(Part):
    currency: str = Field(min_length=1)
    as_of: date
    source: str
    machines: dict[str, Any] = Field(min_length=1)


@dataclass(frozen=True)
class Prices:
    """The price list."""

    currency: str
    as_of: date
    source: str
    machines: Mapping[str, Machine]

    def hour(self, labels: Mapping[str, str], cpus: float, gpus: float) -> float | None:
        """An hour of a share of a node with these labels (`vgsr/machine`, `ray.io/market-type`); None: unknown.

        A node that does not say how it is rented counts as on-demand, the dearer.
        """
        machine = self.machines.get(labels.get(MACHINE, ""))
        whole = machine.hour(labels.get(MARKET, ON_DEMAND)) if machine else None
        return None if machine is None or whole is None else whole * machine.share(cpus, gpus)


def default() -> Path | None:
    """`cluster/prices.yaml` of this checkout, or None where there is none."""
    file = Path(vgsr.__file__).resolve().parents[1] / "cluster" / "prices.yaml"
    return file if file.is_file() else None


def read(file: str | Path) -> Prices:
    """The price list in a file. ConfigError names the key that is wrong."""
    values = yaml_file.read(Path(file))
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: a price list is a mapping of keys, this is {type(values).__name__}")
    whole = validated(_File, values, str(file))
    machines = {}
    for name, written in whole.machines.items():
        if not isinstance(written, dict):
            raise ConfigError(f"{file}: machines.{name}: a machine is a mapping of keys, this is {written!r}")
        machines[name] = validated(Machine, written, f"{file}: machines.{name}")
    return Prices(whole.currency, whole.as_of, whole.source, machines)
