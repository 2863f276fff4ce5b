"""CAM++: its mask against loops over plain numbers, what its parts see, and the sizes of the paper's table."""

import math

import pytest
import torch

from vgsr.students import StudentError, build
from vgsr.students.campplus import Front, Masked


@pytest.mark.parametrize(
    ("embedding", "published"),  # counted on 3D-Speaker's own CAMPPlus
    [(192, 6_848_544), (512, 7_176_224)],
)
def test_published_sizes(embedding, published):
    with torch.device("meta"):
        model = build("campplus", bins=80, embedding=embedding)
    assert sum(parameter.numel() for parameter in model.parameters()) == published
    assert [len(block) for block in model.blocks] == [12, 24, 16]
    assert model.norm[0].num_features == 512


@pytest.mark.parametrize("frames", [1, 99, 100, 101, 230])
def test_the_mask_is_of_the_utterance_and_of_the_segment(frames):
    torch.manual_seed(frames)
    layer, narrow = Masked(3, growth=2, dilation=2).eval(), 8
    reduced = 2 * torch.randn(1, narrow, frames)
    found = layer.masked(reduced)[0].tolist()
    local, first, first_bias, second, second_bias = (
        tensor.squeeze(2).tolist() if tensor.dim() == 3 and tensor.shape[2] == 1 else tensor.tolist()
        for tensor in (
            layer.local.weight,
            layer.mask[0].weight,
            layer.mask[0].bias,
            layer.mask[2].weight,
            layer.mask[2].bias,
        )
    )
    channels = reduced[0].tolist()
    for t in range(frames):
        begin = t // 100 * 100
        segments = [values[begin : begin + 100] for values in channels]
        context = [sum(all_) / frames + sum(near) / len(near) for all_, near in zip(channels, segments, strict=True)]
        hidden = [
            max(0, sum(w * x for w, x in zip(row, context, strict=True)) + b)
            for row, b in zip(first, first_bias, strict=True)
        ]
        for out in range(2):
            mask = 1 / (1 + math.exp(-sum(w * x for w, x in zip(second[out], hidden, strict=True)) - second_bias[out]))
            seen = sum(
                local[out][c][k] * channels[c][t + step]
                for c in range(narrow)
                for k, step in enumerate((-2, 0, 2))
                if 0 <= t + step < frames
            )
            assert found[out][t] == pytest.approx(seen * mask, rel=1e-4, abs=1e-5)


def test_a_dense_layer_appends_to_what_it_is_given():
    torch.manual_seed(0)
    layer, frames = Masked(5, growth=3, dilation=1).eval(), torch.randn(2, 5, 30)
    out = layer(frames.clone())
    assert out.shape == (2, 8, 30)
    assert torch.equal(out[:, :5], frames)


@pytest.mark.parametrize(("bins", "left"), [(80, 10), (81, 11), (20, 3), (1, 1)])
def test_the_front_end_halves_frequency_three_times_and_never_time(bins, left):
    front = Front(bins, 4).eval()
    assert front.width == 4 * left
    assert front(torch.randn(2, 13, bins)).shape == (2, 4 * left, 13)


def test_time_is_halved_once():
    model = build("campplus", bins=16, channels=2, embedding=8).eval()
    for frames, left in ((1, 1), (2, 1), (37, 19), (200, 100)):
        assert model.first(model.front(torch.randn(1, frames, 16))).shape[2] == left


def test_embeddings_have_mean_0_and_variance_1_over_a_batch():
    torch.manual_seed(0)
    out = build("campplus", bins=16, channels=2, embedding=8)(3 * torch.randn(16, 30, 16))
    torch.testing.assert_close(out.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
    assert ((out.var(0, correction=0) > 0.5) & (out.var(0, correction=0) <= 1.0001)).all()  # less by the norm's epsilon


@pytest.mark.parametrize("channels", [0, -1])
def test_channels_that_are_none(channels):
    with pytest.raises(StudentError, match=rf"student\.channels is {channels}"):
        build("campplus", bins=80, channels=channels)
