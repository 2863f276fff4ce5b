"""Layers over frames [B, T, C], whose C numbers lie next to each other in memory.

So a convolution of one frame is one matrix product, and the others need no copy. Parameters are those of the layers of
torch.
"""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NARROW = 16


class FrameConvolution(nn.Conv1d):
    """`nn.Conv1d` over time, of stride 1: [B, T, C] -> [B, T, out]; edges are zeros, or with `reflect` mirrored."""

    def __init__(
        self, channels: int, out: int, kernel: int = 1, *, dilation: int = 1, groups: int = 1, reflect: bool = False
    ) -> None:
        edge = dilation * (kernel // 2)
        super().__init__(channels, out, kernel, padding=edge, dilation=dilation, groups=groups)
        self.edge, self.reflect = edge, reflect
        # In memory as the convolution leaves its gradient, or DDP would copy that at every step.
        self.weight.data = self.weight.data.transpose(1, 2).contiguous().transpose(1, 2)

    def forward(self, frames: Tensor) -> Tensor:
        if self.kernel_size == (1,) and self.groups == 1:
            return F.linear(frames, self.weight.squeeze(2), self.bias)
        edge = self.edge
        if self.reflect:
            before, after = frames[:, 1 : edge + 1].flip(1), frames[:, -edge - 1 : -1].flip(1)
            frames, edge = torch.cat((before, frames, after), dim=1), 0
        # An image of height 1 in channels-last order, which is how the frames lie.
        image, weight = frames.transpose(1, 2).unsqueeze(2), self.weight.unsqueeze(2)
        # torch 2.11 never returns from a bfloat16 convolution of so few channels, each alone, over 19 frames on a CPU.
        narrow = 1 < self.groups == self.in_channels <= NARROW and image.device.type == "cpu"
        with torch.autocast(image.device.type, enabled=False) if narrow else nullcontext():
            image = image.float() if narrow else image
            out = F.conv2d(
                image, weight, self.bias, padding=(0, edge), dilation=(1, *self.dilation), groups=self.groups
            )
        return out.squeeze(2).transpose(1, 2)


class FrameNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` over all frames of all utterances: [B, T, C] -> [B, T, C]."""

    def forward(self, frames: Tensor) -> Tensor:
        return super().forward(frames.flatten(0, 1)).view(frames.shape)


def convolution(channels: int, out: int, kernel: int = 1, *, dilation: int = 1, reflect: bool = False) -> nn.Sequential:
    """Convolution over time, ReLU, batch norm: [B, T, channels] -> [B, T, out]."""
    return nn.Sequential(
        FrameConvolution(channels, out, kernel, dilation=dilation, reflect=reflect),
        nn.ReLU(inplace=True),
        FrameNorm(out),
    )


class Statistics(torch.autograd.Function):
    """Mean and variance over time, [B, T, C] -> [B, C] each, keeping one tensor for the gradient and not four."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> tuple[Tensor, Tensor]:
        mean = frames.mean(dim=1, keepdim=True)
        centred = frames - mean
        ctx.save_for_backward(centred)
        return mean.squeeze(1), centred.square().mean(dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_mean: Tensor, of_variance: Tensor) -> Tensor:
        (centred,) = ctx.saved_tensors
        share = 1 / centred.shape[1]
        return torch.addcmul((of_mean * share).unsqueeze(1), centred, (of_variance * (2 * share)).unsqueeze(1))


class WeightedStatistics(torch.autograd.Function):
    """Mean and variance over time under the weights softmax(scores): frames and scores [B, T, C] -> [B, C] each.

    With c = frames - mean and weights w, the gradients are w (2 c of_variance + of_mean) for frames, and for scores
    w (c (c of_variance + of_mean) - variance of_variance): the weights' own, after the softmax.
    """

    @staticmethod
    def forward(ctx: Any, frames: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        weights = F.softmax(scores, dim=1)
        mean = (weights * frames).sum(dim=1, keepdim=True)
        # Around the mean, not E[x²] − E[x]²: that difference loses every digit where the mean is large.
        centred = frames - mean
        variance = (centred.square() * weights).sum(dim=1, keepdim=True)
        ctx.save_for_backward(centred, weights, variance)
        return mean.squeeze(1), variance.squeeze(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_mean: Tensor, of_variance: Tensor) -> tuple[Tensor, Tensor]:
        centred, weights, variance = ctx.saved_tensors
        of_mean, of_variance = of_mean.unsqueeze(1), of_variance.unsqueeze(1)
        spread = centred * of_variance
        of_scores = (spread + of_mean).mul_(centred).sub_(of_variance * variance).mul_(weights)
        return spread.mul_(2).add_(of_mean).mul_(weights), of_scores
