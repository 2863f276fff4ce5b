"""Published checkpoints: an import embeds as the network that it came from, and says what it cannot use."""

import pytest
import torch

from vgsr import students
from vgsr.students import StudentError, published

from . import theirs

NETWORKS = {
    "wespeaker ecapa": ("wespeaker", theirs.wespeaker_ecapa, (8, 12), {}, "ecapa_wespeaker"),
    "wespeaker ecapa without context": (
        "wespeaker",
        theirs.wespeaker_ecapa,
        (16, 12),
        {"context": False},
        "ecapa_wespeaker",
    ),
    "wespeaker ecapa, normed": ("wespeaker", theirs.wespeaker_ecapa, (8, 12), {"last_norm": True}, "ecapa_wespeaker"),
    "wespeaker campplus": ("wespeaker", theirs.campplus, (2, 12), {"epsilon": 1e-7}, "campplus"),
    # Its deviations have no epsilon where ours do: nothing to trained weights, but much to these drawn ones.
    "3dspeaker campplus": ("3dspeaker", theirs.campplus, (2, 7), {"epsilon": 1e-7}, "campplus"),
    "3dspeaker ecapa": ("3dspeaker", theirs.speakerlab_ecapa, (8, 12), {}, "ecapa_speechbrain"),
    "3dspeaker resnet34": ("3dspeaker", theirs.resnet, (4, 12), {"two": True}, "resnet34_speakerlab"),
    "wespeaker resnet34": ("wespeaker", theirs.resnet, (4, 12), {}, "resnet34"),
    "wespeaker resnet18": ("wespeaker", theirs.resnet, (4, 12), {"blocks": (2, 2, 2, 2)}, "resnet18"),
    "wespeaker resnet50": ("wespeaker", theirs.resnet, (4, 12), {"deep": True}, "resnet50"),
    "3dspeaker eres2netv2": ("3dspeaker", theirs.eres2netv2, (8, 12), {}, "eres2netv2"),
}


def made(describe, sizes, seed=0, bins=80, frames=230, **options):
    """(state dict, features, embeddings) of a network of theirs."""
    net, random = theirs.Drawn(seed), torch.Generator().manual_seed(seed + 1)
    features = torch.randn(2, frames, bins, generator=random)
    return net.state, features, describe(net, features, *sizes, **options)


@pytest.fixture(scope="module")
def small():
    return made(theirs.wespeaker_ecapa, (8, 12))


@pytest.mark.parametrize("name", NETWORKS)
def test_an_import_embeds_as_theirs_does(name):
    toolkit, describe, sizes, options, backbone = NETWORKS[name]
    state, features, wanted = made(describe, sizes, **options)
    found = published.convert(toolkit, state, backbone)
    settings = found.settings
    assert (settings.backbone, settings.channels, settings.embedding) == (backbone, *sizes)
    student = students.of(settings)
    student.load_state_dict(found.tensors)
    with torch.no_grad():
        ours = student.eval()(features)
    torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-3 * float((wanted - wanted.mean(0)).abs().max()))
    assert not found.left_out


def test_what_a_checkpoint_may_be_wrapped_in(small):
    state, *_ = small
    plain = published.convert("wespeaker", state).tensors
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    wrapped = [
        {f"module.{name}": tensor for name, tensor in state.items()},
        {"state_dict": state, "epoch": 3},
        {"model": {f"module.{name}": tensor for name, tensor in state.items()}},
        halves,
    ]
    for checkpoint in wrapped:
        found = published.convert("wespeaker", checkpoint).tensors
        assert found.keys() == plain.keys()
        for name, tensor in found.items():
            assert tensor.dtype == plain[name].dtype
            torch.testing.assert_close(tensor, plain[name], rtol=2e-3, atol=1e-3)


def test_the_classifier_is_left_out_by_name(small):
    state, *_ = small
    found = published.convert("wespeaker", {**state, "projection.weight": torch.ones(5, 12)})
    assert found.left_out == ("projection.weight",)
    assert not any("projection" in name for name in found.tensors)


def test_everything_that_is_wrong_is_in_one_message(small):
    state = dict(small[0])
    del state["layer3.se_res2block.1.bns.2.weight"]
    state["layer1.bn.bias"] = torch.zeros(9)
    state["extra.weight"] = torch.zeros(1)
    with pytest.raises(StudentError) as said:
        published.convert("wespeaker", state)
    for part in (
        "WeSpeaker's ecapa",
        "1 missing: blocks.1.layers.1.groups.2.2.weight",
        "1 unknown: extra.weight",
        "1 of another shape: 'layer1.bn.bias' is [9] instead of [8]",
    ):
        assert part in str(said.value)


@pytest.mark.parametrize(
    ("change", "backbone", "said"),
    [
        ({}, "resnet34", "it is ecapa_wespeaker of WeSpeaker, not 'resnet34'"),
        (
            {"layer1.conv.weight": torch.full((8, 80, 5), torch.nan)},
            None,
            "'layer1.conv.weight' has values that are no",
        ),
        (
            {"layer1.conv.weight": torch.zeros(8, 64, 5)},
            None,
            r"'layer1.conv.weight' is \[8, 64, 5\] instead of \[8, 80, 5\]",
        ),
        ({"layer1.conv.weight": torch.zeros(10**8, 0)}, None, "sizes cannot be told"),
        ({"layer1.conv.weight": torch.zeros(12, 80, 5)}, None, "multiple of 8"),
        ({"linear.weight": None}, None, "sizes cannot be told"),
        ({"pool.linear2.weight": None}, None, "no ecapa of WeSpeaker"),
        ({"layer2.se_res2block.2.conv.weight": torch.zeros(8)}, None, "no ecapa of WeSpeaker"),
    ],
)
def test_other_networks_are_refused(small, change, backbone, said):
    state = {name: tensor for name, tensor in {**small[0], **change}.items() if tensor is not None}
    with pytest.raises(StudentError, match=said):
        published.convert("wespeaker", state, backbone)


def test_nothing_that_is_known():
    with pytest.raises(
        StudentError, match=r"no network of 3D-Speaker that is known here .*: it has a, b, c, d and 1 more"
    ):
        published.convert("3dspeaker", {name: torch.zeros(1) for name in "abcde"})
    with pytest.raises(StudentError, match=r"no tensors are in it \(but epoch\)"):
        published.convert("wespeaker", {"epoch": 1})
    with pytest.raises(StudentError, match="did you mean 'wespeaker'"):
        published.convert("wespeeker", {})


def test_two_names_of_one_tensor(small):
    with pytest.raises(StudentError, match=r"are one tensor of ours, 'embedding\.bias'"):
        published.convert("wespeaker", {**small[0], "embedding.bias": torch.zeros(12)})
