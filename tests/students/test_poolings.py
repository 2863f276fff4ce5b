"""Every pooling: against loops over plain numbers, where nothing varies, and in mixed precision."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vgsr.students import StudentError
from vgsr.students import pooling as poolings

FLOOR = 1e-7


def affine(weight, bias, column):
    return [sum(w * x for w, x in zip(row, column, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def attended(values, scores):
    """Mean and deviation of a list under the weights softmax(scores)."""
    powers = [math.exp(score) for score in scores]
    weights = [power / sum(powers) for power in powers]
    mean = sum(w * x for w, x in zip(weights, values, strict=True))
    variance = sum(w * (x - mean) ** 2 for w, x in zip(weights, values, strict=True))
    return mean, math.sqrt(max(variance, FLOOR))


def tstp(_, channels):
    means, deviations = [], []
    for values in channels:
        mean = sum(values) / len(values)
        means.append(mean)
        variance = sum((x - mean) ** 2 for x in values) / (len(values) - 1) if len(values) > 1 else 0
        deviations.append(math.sqrt(variance + FLOOR))
    return means + deviations


def astp(state, channels):
    frames = [list(column) for column in zip(*channels, strict=True)]
    even = [attended(values, [0.0] * len(values)) for values in channels]
    context = [mean for mean, _ in even] + [deviation for _, deviation in even]
    weight = [[entry[0] for entry in own] for own in state["frames.weight"]]
    weight = [own + seen for own, seen in zip(weight, state["context.weight"], strict=True)]
    back = [[entry[0] for entry in row] for row in state["attention.weight"]]
    scores = []
    for frame in frames:
        hidden = [math.tanh(x) for x in affine(weight, state["frames.bias"], frame + context)]
        scores.append(affine(back, state["attention.bias"], hidden))
    pairs = [attended(values, [score[c] for score in scores]) for c, values in enumerate(channels)]
    return [mean for mean, _ in pairs] + [deviation for _, deviation in pairs]


def mqmhastp(state, channels):
    size = len(channels) // 8
    out = []
    for query in range(2):
        weight, bias = state[f"hidden.{query}.weight"], state[f"hidden.{query}.bias"]
        back, back_bias = state[f"attention.{query}.weight"], state[f"attention.{query}.bias"]
        narrow = len(weight) // 8
        pairs = []
        for head in range(8):
            own = channels[head * size : (head + 1) * size]
            rows, columns = slice(head * narrow, (head + 1) * narrow), slice(head * size, (head + 1) * size)
            scores = []
            for frame in zip(*own, strict=True):
                inner = affine([[w[0] for w in row] for row in weight[rows]], bias[rows], frame)
                inner = [math.tanh(x) for x in inner]
                scores.append(affine([[w[0] for w in row] for row in back[columns]], back_bias[columns], inner))
            pairs += [attended(values, [score[c] for score in scores]) for c, values in enumerate(own)]
        out += [mean for mean, _ in pairs] + [deviation for _, deviation in pairs]
    return out


LOOPS = {"tstp": tstp, "astp": astp, "mqmhastp": mqmhastp}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_equals_loops_over_plain_numbers(name, frames):
    torch.manual_seed(frames)
    pooling = poolings.build(name, 16, 3)
    for parameter in pooling.parameters():
        torch.nn.init.normal_(parameter)  # attention that is far from even
    batch = torch.randn(2, 16, frames)
    state = {key: value.tolist() for key, value in pooling.state_dict().items()}
    wanted = torch.tensor([LOOPS[name](state, utterance) for utterance in batch.tolist()])
    with torch.no_grad():
        torch.testing.assert_close(pooling(batch), wanted, atol=1e-5, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-100, 100, width=32), min_size=5, max_size=5), min_size=1, max_size=6))
def test_tstp_of_anything(columns):
    channels = [list(row) for row in zip(*columns, strict=True)]
    found = poolings.build("tstp", 5)(torch.tensor([channels]))[0]
    torch.testing.assert_close(found, torch.tensor(tstp({}, channels)), atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("name", poolings.POOLINGS)
@pytest.mark.parametrize("value", [0.0, 3.0, -1e4])
@pytest.mark.parametrize("frames", [1, 9])
def test_constant_frames_have_no_deviation_and_finite_gradients(name, value, frames):
    pooling = poolings.build(name, 8, 3).eval()
    still = torch.full((2, 8, frames), value, requires_grad=True)
    pooled = pooling(still)
    assert pooled.shape == (2, pooling.width)
    halves = pooled.view(2, -1, 2, 8)  # mean and deviation, once a query
    torch.testing.assert_close(halves[:, :, 0], torch.full_like(halves[:, :, 0], value))
    assert (halves[:, :, 1] < 1e-3 * max(1, abs(value) / 100)).all()
    pooled.sum().backward()
    for of in (still, *pooling.parameters()):
        assert of.grad is not None and of.grad.isfinite().all()


@pytest.mark.parametrize("name", poolings.POOLINGS)
def test_a_deviation_survives_a_large_mean(name):
    pooling = poolings.build(name, 8, 3).eval()
    for key, parameter in pooling.named_parameters():
        if key.startswith("attention"):
            torch.nn.init.zeros_(parameter)  # even attention: the plain statistics
    frames = 1e4 + torch.tensor([1.0, -1.0] * 50).expand(1, 8, 100)
    halves = pooling(frames).view(-1, 2, 8)
    torch.testing.assert_close(halves[:, 1], torch.ones_like(halves[:, 1]), atol=6e-3, rtol=0)  # 100/99 unbiased
    torch.testing.assert_close(halves[:, 0], torch.full_like(halves[:, 0], 1e4))


@pytest.mark.parametrize("name", poolings.POOLINGS)
def test_the_order_of_frames_does_not_matter(name):
    torch.manual_seed(0)
    pooling = poolings.build(name, 8, 3).eval()
    frames = torch.randn(2, 8, 20)
    with torch.no_grad():
        torch.testing.assert_close(pooling(frames[:, :, torch.randperm(20)]), pooling(frames))


@pytest.mark.parametrize("name", poolings.POOLINGS)
def test_statistics_stay_float32_in_mixed_precision(name):
    torch.manual_seed(0)
    pooling = poolings.build(name, 16, 8).eval()
    frames = (3 + torch.randn(3, 16, 50)).bfloat16()
    with torch.no_grad():
        exact = pooling(frames.float())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = pooling(frames)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.03, rtol=0)  # the weights are rounded; sums of 50 frames are not


@pytest.mark.parametrize(
    ("channels", "published"),  # counted on WeSpeaker's own MQMHASTP of as many channels
    [(512, 133_120), (1536, 397_312), (2560, 661_504), (5120, 1_321_984)],
)
def test_mqmhastp_is_as_large_as_published(channels, published):
    with torch.device("meta"):
        pooling = poolings.build("mqmhastp", channels)
    assert sum(parameter.numel() for parameter in pooling.parameters()) == published
    assert pooling.width == 4 * channels


def test_a_head_attends_to_its_own_channels():
    torch.manual_seed(0)
    pooling = poolings.build("mqmhastp", 16)
    frames = torch.randn(1, 16, 9)
    other = frames.clone()
    other[:, 4:6] += torch.randn(1, 2, 9)  # of head 2
    moved = ((pooling(frames) - pooling(other)).abs() > 1e-6).view(4, 16).any(0)
    assert moved.tolist() == [channel in (4, 5) for channel in range(16)]


def test_channels_that_no_head_can_have():
    with pytest.raises(StudentError, match=r"student\.pooling mqmhastp .* 8 heads.* 12 "):
        poolings.build("mqmhastp", 12)


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(StudentError, match=r"student\.pooling: .*did you mean 'tstp'"):
        poolings.build("tstpp", 8)
