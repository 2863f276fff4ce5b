"""The parts of ReDimNet, on maps [B, T, F, C] and on frames [B, T, C] that lie in memory as they are written."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgsr.students.frames import FrameConvolution, FrameNorm

KERNELS = (7, 19, 31, 59)  # frames that the four convolutions over time see
HEADS = 4
EPSILON = 1e-6  # of layer norms


class MapConvolution(nn.Conv2d):
    """`nn.Conv2d` over time and frequency, edges zeros: [B, T, F, C] -> [B, T, F / stride, out].

    With a stride, which is of frequency alone, each `stride` neighbours become one and none is seen twice.
    """

    def __init__(
        self, channels: int, out: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, bias: bool = True
    ) -> None:
        size = (1, stride) if stride > 1 else (kernel, kernel)
        padding = 0 if stride > 1 else kernel // 2
        super().__init__(channels, out, size, stride=(1, stride), padding=padding, groups=groups, bias=bias)
        if size != (1, 1):
            self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, maps: Tensor) -> Tensor:
        if self.kernel_size == (1, 1) and self.groups == 1:
            return F.linear(maps, self.weight.flatten(1), self.bias)
        # Channels-last order is how the maps lie: nothing is copied.
        return super().forward(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class MapNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` on [B, T, F, C]."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Separable(nn.Module):
    """ConvNeXt's idea (Liu et al., CVPR 2022): a grouped convolution, norm, GELU, one of 1 × 1, around a shortcut."""

    def __init__(self, grouped: nn.Module, norm: nn.Module, pointwise: nn.Module) -> None:
        super().__init__()
        self.grouped, self.norm, self.pointwise = grouped, norm, pointwise

    def forward(self, x: Tensor) -> Tensor:
        """[B, …, C] -> [B, …, C]."""
        return x + self.pointwise(F.gelu(self.norm(self.grouped(x))))


def separable_map(channels: int, groups: int) -> Separable:
    """Over 3 × 3 of time and frequency."""
    return Separable(
        MapConvolution(channels, channels, 3, groups=groups), MapNorm(channels), MapConvolution(channels, channels)
    )


def separable_frames(channels: int, kernel: int) -> Separable:
    """Over `kernel` frames, each channel alone."""
    return Separable(
        FrameConvolution(channels, channels, kernel, groups=channels),
        FrameNorm(channels),
        FrameConvolution(channels, channels),
    )


class FrequencyExcitation(nn.Module):
    """Weighs each frequency by what the whole utterance says about it (Thienpondt et al., Interspeech 2021)."""

    def __init__(self, frequencies: int, bottleneck: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Linear(frequencies, bottleneck), nn.ReLU(inplace=True), nn.Linear(bottleneck, frequencies), nn.Sigmoid()
        )

    def forward(self, maps: Tensor) -> Tensor:
        """[B, T, F, C] -> [B, T, F, C]."""
        return maps * self.weigh(maps.mean(dim=(1, 3)))[:, None, :, None]


class Residual(nn.Module):
    """Two grouped convolutions of 3 × 3, each with one of 1 × 1 after it, around a shortcut."""

    def __init__(self, channels: int, groups: int, excitation: FrequencyExcitation | None) -> None:
        super().__init__()

        def pair() -> Iterator[MapConvolution]:
            yield MapConvolution(channels, channels, 3, groups=groups, bias=False)
            yield MapConvolution(channels, channels)

        self.layers = nn.Sequential(
            *pair(),
            nn.ReLU(inplace=True),
            MapNorm(channels),
            *pair(),
            MapNorm(channels),
            excitation or nn.Identity(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """[B, T, F, C] -> [B, T, F, C]."""
        return F.relu(maps + self.layers(maps))


class SelfAttention(nn.Module):
    """A transformer's layer with its norms after the sums (Vaswani et al., 2017): [B, T, C] -> [B, T, C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.wide = nn.Sequential(
            nn.Linear(channels, channels), nn.GELU(approximate="tanh"), nn.Linear(channels, channels)
        )
        self.last_norm = nn.LayerNorm(channels, eps=EPSILON)

    def forward(self, frames: Tensor) -> Tensor:
        query, key, value = (
            layer(frames).unflatten(2, (HEADS, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        frames = self.norm(frames + self.out(seen))
        return self.last_norm(frames + self.wide(frames))


class TimeContext(nn.Module):
    """Frames in the context of all others, in a narrower space: [B, T, C] -> [B, T, C]."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            FrameConvolution(channels, narrow),
            nn.LayerNorm(narrow, eps=EPSILON),
            *(separable_frames(narrow, kernel) for kernel in KERNELS),
            SelfAttention(narrow),
            FrameConvolution(narrow, channels),
        )

    def forward(self, frames: Tensor) -> Tensor:
        return frames + self.layers(frames)


class WeightedSum(nn.Module):
    """A sum of `count` tensors [B, T, C], each channel with weights of its own that add up to 1."""

    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(count, channels))

    def forward(self, outs: list[Tensor]) -> Tensor:
        weights = self.weights.softmax(dim=0)
        total = outs[0] * weights[0]
        for out, weight in zip(outs[1:], weights[1:], strict=True):
            total = total + out * weight
        return total
