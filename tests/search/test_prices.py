"""The price list: read strictly, shared out by workers, never a price that is not known."""

import re
from pathlib import Path

import pytest
import yaml

from vgsr.config import ConfigError
from vgsr.search import prices

CLUSTER = Path(__file__).resolve().parents[2] / "cluster"
LIST = {
    "currency": "EUR",
    "as_of": "2026-01-02",
    "source": "typed",
    "machines": {
        "quad": {"provider": "aws", "cpus": 48, "gpus": 4, "on_demand": 8.0, "spot": 4.0},
        "plain": {"provider": "own", "cpus": 8, "gpus": 0, "on_demand": 0.8},
    },
}


@pytest.fixture
def written(tmp_path):
    def write(**changes):
        file = tmp_path / "prices.yaml"
        file.write_text(yaml.safe_dump({**LIST, **changes}))
        return file

    return write


@pytest.mark.parametrize(
    ("labels", "cpus", "gpus", "hour"),
    [
        ({"vgsr/machine": "quad", "ray.io/market-type": "spot"}, 4, 1, 1.0),  # by GPUs, however few its CPUs
        ({"vgsr/machine": "quad", "ray.io/market-type": "on-demand"}, 4, 2, 4.0),
        ({"vgsr/machine": "quad"}, 4, 4, 8.0),  # not said: the dearer
        ({"vgsr/machine": "quad"}, 12, 0, 2.0),  # a worker without a GPU takes cores
        ({"vgsr/machine": "plain"}, 2, 0, 0.2),
        ({"vgsr/machine": "plain"}, 80, 0, 0.8),  # never more than all of it
        ({"vgsr/machine": "plain", "ray.io/market-type": "spot"}, 2, 0, None),
        ({"vgsr/machine": "quad", "ray.io/market-type": "reserved"}, 2, 1, None),
        ({"vgsr/machine": "unheard-of"}, 2, 1, None),
        ({}, 2, 1, None),
    ],
)
def test_an_hour(written, labels, cpus, gpus, hour):
    assert prices.read(written()).hour(labels, cpus, gpus) == (None if hour is None else pytest.approx(hour))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"curency": "EUR"}, "unknown key 'curency'; did you mean 'currency'"),
        (
            {"machines": {"quad": {"provider": "aws", "cpus": 4, "gpus": 1, "on_demand": 1, "spto": 2}}},
            "machines.quad: unknown key 'spto'; did you mean 'spot'",
        ),
        (
            {"machines": {"quad": {"provider": "aws", "gpus": 1, "on_demand": 1}}},
            "machines.quad: key 'cpus' is missing",
        ),
        ({"machines": {"quad": {"provider": "aws", "cpus": 4, "gpus": 1, "on_demand": 0}}}, "machines.quad: on_demand"),
        ({"machines": {"quad": 3}}, "machines.quad: a machine is a mapping"),
        ({"machines": {}}, "machines"),
        ({"as_of": "yesterday"}, "as_of"),
    ],
)
def test_mistakes_are_named(written, changes, said):
    file = written(**changes)
    with pytest.raises(ConfigError, match=re.escape(said)) as raised:
        prices.read(file)
    assert str(file) in str(raised.value)


def test_no_file(tmp_path):
    with pytest.raises(ConfigError, match="absent"):
        prices.read(tmp_path / "absent.yaml")


def test_the_list_of_this_checkout():
    listed = prices.read(prices.default())
    assert prices.default() == CLUSTER / "prices.yaml"
    assert "check yours" in listed.source
    for name, machine in listed.machines.items():
        assert (machine.spot is None) == (machine.provider == "own"), name
        assert machine.spot is None or machine.spot < machine.on_demand, name
        assert (machine.gpu is not None) == (machine.gpus > 0) or machine.provider == "own", name


def test_every_node_of_the_cluster_files_has_a_price():
    """The labels that our cluster files give their nodes are names of the price list, and markets it has."""
    listed = prices.read(prices.default())
    labelled = [
        found
        for file in CLUSTER.rglob("*.yaml")
        for part in yaml.safe_load_all(file.read_text())
        for found in _labels(part)
    ]
    assert len(labelled) > 5
    for labels in labelled:
        assert listed.hour(labels, 1, 0), labels


def _labels(part):
    if isinstance(part, dict):
        if "vgsr/machine" in part:
            yield part
        for inner in part.values():
            yield from _labels(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _labels(inner)
