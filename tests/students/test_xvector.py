"""The x-vector network against table 1 of its paper, and against loops over plain numbers."""

import math

import pytest
import torch

from vgsr.students import StudentError, build

# What each frame-level layer of the paper's table sees, in frames of the layer before.
TABLE = ((-2, -1, 0, 1, 2), (-2, 0, 2), (-3, 0, 3), (0,), (0,))


def small(seed=0, bins=3, channels=2, embedding=4):
    """A small network in which nothing is as it starts."""
    torch.manual_seed(seed)
    model = build("xvector", bins=bins, channels=channels, embedding=embedding).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return model


def test_parameters_as_the_layers_are_published():
    with torch.device("meta"):
        model = build("xvector", bins=80)
    # Rows of the paper's table, with 80 bins and the statistics of 1500 channels: inputs × outputs + biases.
    rows = ((5 * 80, 512), (3 * 512, 512), (3 * 512, 512), (512, 512), (512, 1500), (3000, 512), (512, 512))
    assert sum(parameter.numel() for parameter in model.parameters()) == sum((i + 1) * o for i, o in rows)


def loops(state, frames):
    """The embedding of frames [T][bins], written as the table says it."""

    def norm(name, column):
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return [(x - m) / math.sqrt(v + 1e-5) for x, m, v in zip(column, mean, variance, strict=True)]

    def dot(row, column):
        return sum(w * x for w, x in zip(row, column, strict=True))

    for number, steps in enumerate(TABLE):
        weight, bias = state[f"frames.{3 * number}.weight"], state[f"frames.{3 * number}.bias"]
        out = []
        for t in range(-steps[0], len(frames) - steps[-1]):
            column = []
            for row, b in zip(weight, bias, strict=True):
                seen = sum(dot([w[k] for w in row], frames[t + step]) for k, step in enumerate(steps))
                column.append(max(0, seen + b))
            out.append(norm(f"frames.{3 * number + 2}", column))
        frames = out
    means, deviations = [], []
    for values in zip(*frames, strict=True):
        means.append(sum(values) / len(values))
        variance = sum((x - means[-1]) ** 2 for x in values) / (len(values) - 1)
        deviations.append(math.sqrt(variance + 1e-7))
    first, second = (list(zip(state[f"segment.{n}.weight"], state[f"segment.{n}.bias"], strict=True)) for n in (0, 3))
    hidden = norm("segment.2", [max(0, dot(row, means + deviations) + b) for row, b in first])
    return [dot(row, hidden) + b for row, b in second]


@pytest.mark.parametrize("frames", [16, 23])
def test_equals_loops_over_plain_numbers(frames):
    model, features = small(), torch.randn(2, frames, 3)
    state = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    wanted = torch.tensor([loops(state, utterance) for utterance in features.tolist()])
    torch.testing.assert_close(model(features).detach(), wanted, atol=1e-5, rtol=1e-4)


def test_an_output_sees_fifteen_frames():
    model, features = small(channels=16), torch.randn(1, 40, 3)
    before = model.frames(features.transpose(1, 2))
    assert before.shape == (1, 46, 26)  # 1500/512 of 16 channels; 40 − 14 frames
    for frame in (0, 7, 20, 39):
        other = features.clone()
        other[:, frame] += 3
        moved = (model.frames(other.transpose(1, 2)) != before).any(1)[0].nonzero().flatten().tolist()
        assert moved == [t for t in range(26) if t <= frame <= t + 14]


@pytest.mark.parametrize("frames", [1, 2, 5, 14])
def test_short_utterances_are_lengthened_by_their_edges(frames):
    model, features = small(), torch.randn(2, frames, 3)
    left = (15 - frames) // 2
    right = 15 - frames - left
    longer = torch.cat((features[:, :1].expand(-1, left, -1), features, features[:, -1:].expand(-1, right, -1)), 1)
    found = model(features)
    assert found.isfinite().all()
    torch.testing.assert_close(found, model(longer))


@pytest.mark.parametrize("channels", [0, -3])
def test_channels_that_are_none(channels):
    with pytest.raises(StudentError, match=rf"student\.channels is {channels}"):
        build("xvector", bins=80, channels=channels)
