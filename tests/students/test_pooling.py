"""Attentive statistics pooling against its written form, and where the variance is 0 or small."""

import math

import torch

from vgsr.students.pooling import AttentiveStatistics


def test_equals_the_paper_written_as_one_concatenation() -> None:
    torch.manual_seed(0)
    pooling = AttentiveStatistics(6, bottleneck=4).double()
    frames = torch.randn(3, 6, 11, dtype=torch.float64)

    mean, spread = frames.mean(2, keepdim=True), frames.std(2, correction=0, keepdim=True)
    seen = torch.cat((frames, mean.expand_as(frames), spread.expand_as(frames)), dim=1)
    weight = torch.cat((pooling.frames.weight.squeeze(2), pooling.context.weight), dim=1)
    hidden = torch.tanh(torch.einsum("hc,bct->bht", weight, seen) + pooling.frames.bias[:, None])
    score = torch.einsum("ch,bht->bct", pooling.attention.weight.squeeze(2), hidden) + pooling.attention.bias[:, None]
    alpha = score.exp() / score.exp().sum(2, keepdim=True)
    mu = (alpha * frames).sum(2)
    sigma = ((alpha * frames**2).sum(2) - mu**2).sqrt()

    double = AttentiveStatistics(6, bottleneck=4)
    double.load_state_dict(pooling.state_dict())
    torch.testing.assert_close(double(frames.float()), torch.cat((mu, sigma), 1).float(), atol=1e-5, rtol=1e-5)


def test_constant_frames_have_no_deviation_and_a_finite_gradient() -> None:
    pooling = AttentiveStatistics(5, bottleneck=3)
    frames = torch.full((2, 5, 9), 3.0, requires_grad=True)
    pooled = pooling(frames)
    torch.testing.assert_close(pooled[:, :5], torch.full((2, 5), 3.0))
    assert (pooled[:, 5:] < 1e-3).all()
    pooled.sum().backward()
    assert frames.grad is not None
    assert frames.grad.isfinite().all()


def test_deviation_survives_a_large_mean() -> None:
    pooling = AttentiveStatistics(1, bottleneck=2)
    torch.nn.init.zeros_(pooling.attention.weight)  # even attention: the plain statistics
    frames = 1e4 + torch.tensor([[[1.0, -1.0] * 50]])
    torch.testing.assert_close(pooling(frames)[0, 1].item(), 1.0, atol=1e-3, rtol=0)
    assert math.isclose(pooling(frames)[0, 0].item(), 1e4, rel_tol=1e-6)
