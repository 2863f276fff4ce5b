"""ReDimNet's parts against plain ones on [B, C, F, T] and [B, C, T], and what its sizes refuse."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from vgsr.students import STUDENTS, StudentError, build
from vgsr.students.redimnet import SIZES, StageLayers, stages
from vgsr.students.redimnet_blocks import (
    FrequencyExcitation,
    MapConvolution,
    Residual,
    SelfAttention,
    TimeContext,
    WeightedSum,
    separable_map,
)


def plain(maps: torch.Tensor) -> torch.Tensor:
    """[B, T, F, C] -> [B, C, F, T], as papers write it."""
    return maps.permute(0, 3, 2, 1)


def turned(weight: torch.Tensor) -> torch.Tensor:
    """A kernel over (T, F) as one over (F, T)."""
    return weight.transpose(2, 3)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_published_sizes(size):
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in build(size.name).parameters()) / 1e6
    assert count == pytest.approx(size.parameters, rel=0.002)
    assert (STUDENTS[size.name].bins, STUDENTS[size.name].parameters) == (size.bins, size.parameters)


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 5), st.sampled_from([1, 2, 3]))
def test_frames_and_maps_are_the_same_numbers(frames, merged, channels, stride):
    """The paper's reshape: number f·C + c of a frame is that of map f and channel c, before a stage and after it."""
    torch.manual_seed(0)
    size = SIZES[0]
    stage = StageLayers(size, stages((stride, 0, 1, 0))[0], merged * stride, channels).double()
    x = torch.randn(2, frames, merged * stride * channels, dtype=torch.float64)
    maps = x.transpose(1, 2).reshape(2, merged * stride, channels, frames).permute(0, 2, 1, 3)  # [B, C, F, T]
    convolution = stage.maps[0]
    out = F.conv2d(maps, turned(convolution.weight), convolution.bias, stride=(stride, 1))  # [B, C', F / stride, T]
    wanted = out.permute(0, 2, 1, 3).reshape(2, -1, frames).transpose(1, 2)
    torch.testing.assert_close(stage(x), wanted)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolutions_over_maps_are_torchs(groups):
    torch.manual_seed(0)
    ours = MapConvolution(4, 8, 3, groups=groups)
    x = torch.randn(2, 5, 6, 4)
    wanted = F.conv2d(plain(x), turned(ours.weight), ours.bias, padding=1, groups=groups)
    torch.testing.assert_close(plain(ours(x)), wanted)


def test_a_separable_block():
    torch.manual_seed(0)
    block = separable_map(6, 3).eval()
    block.norm.running_mean.normal_()
    block.norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 5, 4, 6)
    grouped = F.conv2d(plain(x), turned(block.grouped.weight), block.grouped.bias, padding=1, groups=3)
    shape = (1, -1, 1, 1)
    normed = (grouped - block.norm.running_mean.view(shape)) / (block.norm.running_var.view(shape) + 1e-5).sqrt()
    gelu = normed * 0.5 * (1 + torch.erf(normed / math.sqrt(2)))
    wanted = plain(x) + F.conv2d(gelu, turned(block.pointwise.weight), block.pointwise.bias)
    torch.testing.assert_close(plain(block(x)), wanted, atol=1e-5, rtol=1e-4)


def test_a_residual_block_keeps_to_its_order():
    """Convolution pair, ReLU, norm, convolution pair, norm, excitation of frequencies, sum, ReLU."""
    torch.manual_seed(0)
    excitation = FrequencyExcitation(5, 32)
    block = Residual(4, 2, excitation).eval()
    x = torch.randn(2, 3, 5, 4)
    first, point, _, norm, second, last, other = list(block.layers)[:7]
    y = plain(x)
    y = F.conv2d(y, turned(first.weight), padding=1, groups=2)
    y = F.relu(F.conv2d(y, turned(point.weight), point.bias)) / math.sqrt(1 + norm.eps)
    y = F.conv2d(y, turned(second.weight), padding=1, groups=2)
    y = F.conv2d(y, turned(last.weight), last.bias) / math.sqrt(1 + other.eps)
    for b in range(2):
        weights = excitation.weigh(torch.stack([y[b, :, f, :].mean() for f in range(5)]))
        y[b] = y[b] * weights.view(1, 5, 1)
    torch.testing.assert_close(plain(block(x)), F.relu(plain(x) + y), atol=1e-5, rtol=1e-4)


def test_attention_is_that_of_the_paper():
    torch.manual_seed(0)
    layer = SelfAttention(8)
    x = torch.randn(1, 5, 8)
    heads = []
    for head in range(4):
        part = slice(2 * head, 2 * head + 2)
        query, key, value = (each(x)[0][:, part] for each in (layer.query, layer.key, layer.value))
        heads.append(torch.softmax(query @ key.T / math.sqrt(2), dim=1) @ value)
    seen = layer.norm(x + layer.out(torch.cat(heads, dim=1)))
    torch.testing.assert_close(layer(x), layer.last_norm(seen + layer.wide(seen)))


def test_a_weighted_sum_begins_as_the_mean_and_follows_its_weights():
    outs = [torch.randn(2, 3, 4) for _ in range(3)]
    total = WeightedSum(3, 4)
    torch.testing.assert_close(total(outs), sum(outs) / 3)
    total.weights.data[1, 2] = 50.0
    torch.testing.assert_close(total(outs)[..., 2], outs[1][..., 2])
    torch.testing.assert_close(total(outs)[..., :2], (sum(outs) / 3)[..., :2])


def test_context_reaches_every_frame():
    torch.manual_seed(0)
    block = TimeContext(16, 8).eval()
    x = torch.randn(1, 90, 16, requires_grad=True)
    block(x)[0, 0].sum().backward()
    assert (x.grad.abs().sum(dim=2) > 0).all()


@pytest.mark.parametrize(
    ("name", "channels", "bins", "said"),
    [
        ("redimnet_b2", 16, 78, "merges"),
        ("redimnet_b2", 14, 72, "convolves some 4 channels together"),
        ("redimnet_b2", 2, 72, "heads of attention"),
    ],
)
def test_widths_that_do_not_come_out_even(name, channels, bins, said):
    with pytest.raises(StudentError, match=rf"student\.channels: {name}.*{said}"):
        build(name, channels=channels, bins=bins)


@pytest.mark.parametrize("frames", [1, 2, 61])
def test_any_length(frames):
    model = build("redimnet_b0").eval()
    assert model(torch.randn(2, frames, 60)).isfinite().all()
    assert isinstance(model.embedding, nn.Linear)
