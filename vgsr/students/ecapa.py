"""Features [B, T, bins] in, speaker embedding [B, d] out, by ECAPA-TDNN.

Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in
TDNN Based Speaker Verification", Interspeech 2020. Layers, order (convolution, ReLU, batch norm) and sizes
are the paper's.
"""

import torch
from torch import Tensor, nn

from vgsr.students import StudentError, student
from vgsr.students import pooling as poolings
from vgsr.students.frames import FrameConvolution, convolution

SCALE = 8
DILATIONS = (2, 3, 4)
BOTTLENECK = 128
AGGREGATE = 1536


class Res2(nn.Module):
    """Res2Net convolution (Gao et al., 2019): each group of channels also sees the group before."""

    def __init__(self, channels: int, dilation: int, reflect: bool) -> None:
        super().__init__()
        width = channels // SCALE
        self.groups = nn.ModuleList(
            convolution(width, width, 3, dilation=dilation, reflect=reflect) for _ in range(SCALE - 1)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]; the first group passes unchanged."""
        first, *rest = frames.chunk(SCALE, dim=2)
        outs = [first]
        for group, chunk in zip(self.groups, rest, strict=True):
            outs.append(group(chunk.contiguous() if len(outs) == 1 else chunk + outs[-1]))
        return torch.cat(outs, dim=2)


class SqueezeExcitation(nn.Module):
    """Weighs each channel by what the whole utterance says about it (Hu et al., 2018), over time."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Linear(channels, bottleneck),
            nn.ReLU(inplace=True),
            nn.Linear(bottleneck, channels),
            nn.Sigmoid(),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        return frames * self.weigh(frames.mean(dim=1)).unsqueeze(1)


class Block(nn.Module):
    """SE-Res2Block with its residual connection: [B, T, C] -> [B, T, C]."""

    def __init__(self, channels: int, dilation: int, bottleneck: int, reflect: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(channels, channels),
            Res2(channels, dilation, reflect),
            convolution(channels, channels),
            SqueezeExcitation(channels, bottleneck),
        )

    def forward(self, frames: Tensor) -> Tensor:
        return frames + self.layers(frames)


@student(
    "ecapa",
    channels=512,
    embedding=192,
    pooling="astp",
    parameters=6.19,
    source="WeSpeaker, examples/voxceleb/v2/README.md (1024 channels: 14.65 M)",
)
class Ecapa(nn.Module):
    """ECAPA-TDNN; 512 and 1024 channels are the published small and large model.

    Smaller widths are ours, for a laptop: the aggregation layer is min(1536, 3C) wide and the bottlenecks of
    squeeze-excitation and attention min(128, C), which leaves both published sizes as they are.
    StudentError when `channels` is not a multiple of 8 (the number of Res2 groups).
    """

    reflect = False  # edges of convolutions: zeros

    def __init__(self, *, bins: int, channels: int, embedding: int, pooling: str) -> None:
        super().__init__()
        if channels < SCALE or channels % SCALE:
            raise StudentError(
                f"student.channels is {channels}: ECAPA splits its channels into {SCALE} groups, "
                f"so it must be a multiple of {SCALE}"
            )
        bottleneck, aggregate = min(BOTTLENECK, channels), min(AGGREGATE, 3 * channels)
        self.first = convolution(bins, channels, 5, reflect=self.reflect)
        self.blocks = nn.ModuleList(Block(channels, dilation, bottleneck, self.reflect) for dilation in DILATIONS)
        self.aggregate = nn.Sequential(FrameConvolution(3 * channels, aggregate), nn.ReLU(inplace=True))
        self.pooling = poolings.build(pooling, aggregate, bottleneck)
        self.statistics_norm = nn.BatchNorm1d(self.pooling.width)
        self.embedding = nn.Linear(self.pooling.width, embedding)
        self.embedding_norm = nn.BatchNorm1d(embedding)

    def forward(self, features: Tensor) -> Tensor:
        """Embedding of each utterance, not length-normalised: [B, T, bins] -> [B, d]."""
        total = self.first(features)
        outs: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            # The paper's residual: a block sees the sum of all outputs before it, the first layer's included.
            total = total if number == 0 else total + outs[-1]
            outs.append(block(total))
        pooled = self.pooling(self.aggregate(torch.cat(outs, dim=2)).transpose(1, 2))
        return self.embedding_norm(self.embedding(self.statistics_norm(pooled)))
