"""ERes2NetV2: its fusion against loops over plain numbers, how its parts are wired, and the authors' size."""

import math

import pytest
import torch
from torch import nn

from vgsr.students import StudentError, build
from vgsr.students.eres2netv2 import Block, Fusion


def unsettled(module, seed=0):
    """The module in evaluation, with batch norms that are not as they start."""
    torch.manual_seed(seed)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.3)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
    return module.eval()


def test_published_size():
    with torch.device("meta"):
        model = build("eres2netv2", bins=80)
    # Counted on 3D-Speaker's own ERes2NetV2.
    assert sum(parameter.numel() for parameter in model.parameters()) == 17_859_632


def test_the_fusion_equals_loops_over_plain_numbers():
    fusion = unsettled(Fusion(8))
    x, y = torch.randn(2, 1, 8, 2, 3)
    found = fusion(x, y)[0].tolist()
    enter, enter_norm, _, leave, leave_norm = fusion.weigh

    def apply(layer, norm, column):
        weight, bias = layer.weight.flatten(1).tolist(), layer.bias.tolist()
        out = [sum(w * v for w, v in zip(row, column, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        numbers = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        return [
            scale * (value - mean) / math.sqrt(variance + 1e-5) + offset
            for value, scale, offset, mean, variance in zip(out, *(n.tolist() for n in numbers), strict=True)
        ]

    for f in range(2):
        for t in range(3):
            one, two = x[0, :, f, t].tolist(), y[0, :, f, t].tolist()
            hidden = [v / (1 + math.exp(-v)) for v in apply(enter, enter_norm, one + two)]  # SiLU
            for channel, weight in enumerate(apply(leave, leave_norm, hidden)):
                share = math.tanh(weight)
                wanted = (1 + share) * one[channel] + (1 - share) * two[channel]
                assert found[channel][f][t] == pytest.approx(wanted, abs=1e-4)


def passing(block):
    """The block with convolutions that pass each channel unchanged, and norms that do nothing but an epsilon."""
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            with torch.no_grad():
                layer.weight.zero_()
                middle = layer.kernel_size[0] // 2
                for channel in range(min(layer.weight.shape[:2])):
                    layer.weight[channel, channel, middle, middle] = 1
                if layer.bias is not None:
                    layer.bias.zero_()
    return block.eval()


def test_a_group_sees_what_came_of_the_group_before():
    block = passing(Block(64, 32, stride=1, fused=False))  # groups of 13 channels
    maps = torch.rand(1, 64, 2, 3)
    first, second = maps[:, :13], maps[:, 13:26]
    wanted = maps + torch.cat((first, first + second, torch.zeros(1, 38, 2, 3)), dim=1)
    torch.testing.assert_close(block(maps), wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("share", "first_times", "second_times"), [(0.0, 1, 1), (20.0, 2, 0), (-20.0, 0, 2)])
def test_a_fused_block_weighs_both_groups(share, first_times, second_times):
    block = passing(Block(64, 32, stride=1, fused=True))
    nn.init.zeros_(block.fusions[0].weigh[-1].weight)
    nn.init.constant_(block.fusions[0].weigh[-1].bias, share)
    maps = torch.rand(1, 64, 2, 3)
    first, second = maps[:, :13], maps[:, 13:26]
    fused = first_times * first + second_times * second
    wanted = maps + torch.cat((first, fused, torch.zeros(1, 38, 2, 3)), dim=1)
    torch.testing.assert_close(block(maps), wanted, atol=1e-3, rtol=1e-3)


def test_what_a_block_gives_is_cut_off_at_twenty():
    block = unsettled(Block(8, 8, stride=2, fused=False))
    out = block(1e3 * torch.randn(2, 8, 5, 7))
    assert out.shape == (2, 16, 3, 4)
    assert out.min() == 0 and out.max() == 20


def test_only_the_last_two_stages_fuse():
    with torch.device("meta"):
        model = build("eres2netv2", bins=80, channels=8)
    assert [len(stage) for stage in model.stages] == [3, 4, 6, 3]
    assert [{len(block.fusions) for block in stage} for stage in model.stages] == [{0}, {0}, {1}, {1}]


def test_both_last_stages_reach_the_embedding():
    torch.manual_seed(0)
    model, seen = build("eres2netv2", bins=16, channels=4, embedding=8).eval(), []
    model.fusion.register_forward_hook(lambda _, given, out: seen.append((*given, out)))
    model(torch.randn(2, 37, 16))
    deep, below, fused = seen[0]
    # Frequency and time are halved three times: 16 → 2, 37 → 19 → 10 → 5.
    assert deep.shape == below.shape == fused.shape == (2, 64, 2, 5)
    assert not torch.equal(deep, below)


@pytest.mark.parametrize("channels", [2, 0, -1])
def test_channels_that_leave_a_group_empty(channels):
    with pytest.raises(StudentError, match=rf"student\.channels is {channels}"):
        build("eres2netv2", bins=80, channels=channels)
