"""Layers over frames [B, T, C] against those of torch over [B, C, T], and gradients against finite differences."""

import pytest
import torch
from torch import nn

from vgsr.students.frames import FrameConvolution, FrameNorm, Statistics, WeightedStatistics


@pytest.mark.parametrize("edges", ["zeros", "reflect"])
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 4), (5, 1)])
def test_a_convolution_is_torchs(kernel, dilation, edges):
    torch.manual_seed(0)
    ours = FrameConvolution(6, 4, kernel, dilation=dilation, reflect=edges == "reflect").double()
    theirs = nn.Conv1d(
        6, 4, kernel, padding=dilation * (kernel // 2), dilation=dilation, padding_mode=edges, dtype=torch.float64
    )
    theirs.load_state_dict(ours.state_dict())
    frames = torch.randn(3, 9, 6, dtype=torch.float64, requires_grad=True)
    other = frames.detach().clone().requires_grad_()
    found, wanted = ours(frames), theirs(other.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(found, wanted)
    direction = torch.randn_like(found)
    (found * direction).sum().backward()
    (wanted * direction).sum().backward()
    torch.testing.assert_close(frames.grad, other.grad)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs.get_parameter(name).grad)


def test_frames_stay_as_they_lie():
    frames = torch.randn(2, 7, 16)
    for kernel in (1, 3):
        assert FrameConvolution(16, 8, kernel)(frames).is_contiguous()


def test_a_norm_is_torchs_and_so_are_its_running_statistics():
    torch.manual_seed(0)
    ours, theirs = FrameNorm(5), nn.BatchNorm1d(5)
    for _ in range(3):
        frames = 2 + 3 * torch.randn(4, 6, 5)
        torch.testing.assert_close(ours(frames), theirs(frames.transpose(1, 2)).transpose(1, 2))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_statistics_and_their_gradients():
    torch.manual_seed(0)
    frames = (5 + torch.randn(2, 7, 3, dtype=torch.float64)).requires_grad_()
    mean, variance = (found.detach() for found in Statistics.apply(frames))
    for b in range(2):
        for c in range(3):
            values = frames[b, :, c].tolist()
            middle = sum(values) / 7
            assert float(mean[b, c]) == pytest.approx(middle)
            assert float(variance[b, c]) == pytest.approx(sum((value - middle) ** 2 for value in values) / 7)
    assert torch.autograd.gradcheck(Statistics.apply, (frames,))


def test_weighted_statistics_and_their_gradients():
    torch.manual_seed(0)
    frames = (5 + torch.randn(2, 7, 3, dtype=torch.float64)).requires_grad_()
    scores = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    mean, variance = (found.detach() for found in WeightedStatistics.apply(frames, scores))
    for b in range(2):
        for c in range(3):
            raised = scores[b, :, c].exp().tolist()
            weights = [one / sum(raised) for one in raised]
            values = frames[b, :, c].tolist()
            middle = sum(w * x for w, x in zip(weights, values, strict=True))
            spread = sum(w * (x - middle) ** 2 for w, x in zip(weights, values, strict=True))
            assert float(mean[b, c]) == pytest.approx(middle)
            assert float(variance[b, c]) == pytest.approx(spread)
    assert torch.autograd.gradcheck(WeightedStatistics.apply, (frames, scores))


def test_a_large_offset_costs_the_variance_no_digits():
    frames = torch.randn(2, 200, 4) + 1e4
    _, variance = Statistics.apply(frames)
    _, weighted = WeightedStatistics.apply(frames, torch.zeros_like(frames))
    wanted = frames.double().var(dim=1, correction=0)
    torch.testing.assert_close(variance.double(), wanted, rtol=1e-3, atol=0)
    torch.testing.assert_close(weighted.double(), wanted, rtol=1e-3, atol=0)
