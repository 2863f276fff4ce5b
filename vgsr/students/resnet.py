"""Features [B, T, bins] in, speaker embedding [B, d] out, by the ResNets of r-vectors.

Zeinali, Wang, Silnova, Matějka, Plchot, "BUT System Description to VoxCeleb Speaker Recognition Challenge 2019" (arXiv
1910.12592): the residual networks of images (He et al., CVPR 2016), narrower and without their first pooling, over
frequency and time alike. Sizes and order are WeSpeaker's (wespeaker/models/resnet.py).
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgsr.students import StudentError, student
from vgsr.students import pooling as poolings

# Blocks of each of the four stages; a stage is twice as wide as the one before, and half as high and long.
SMALL = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}  # depths of basic blocks
DEEP = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 221: (6, 16, 48, 3), 293: (10, 20, 64, 3)}
EXPANSION = 4  # of a bottleneck block: channels out, of one of its stage
HALVINGS = 3  # of frequency and time


class Norm(nn.BatchNorm2d):
    """Batch norm, and what follows it: a shortcut is added, and negative numbers become 0."""

    def forward(self, maps: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """[B, C, F, T] -> [B, C, F, T]."""
        normed = super().forward(maps)
        return F.relu_(normed if shortcut is None else normed.add_(shortcut))


class Block(nn.Module):
    """Two 3 × 3 convolutions, or with `deep` a narrow one between two of 1 × 1, around a shortcut."""

    def __init__(self, channels: int, planes: int, stride: int, deep: bool) -> None:
        super().__init__()
        out = planes * EXPANSION if deep else planes
        kernels = ((planes, 1, 1), (planes, 3, stride), (out, 1, 1)) if deep else ((planes, 3, stride), (out, 3, 1))
        widths = (channels, *(width for width, _, _ in kernels))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, width, kernel, stride=step, padding=kernel // 2, bias=False)
            for before, (width, kernel, step) in zip(widths, kernels, strict=False)
        )
        self.norms = nn.ModuleList(Norm(width) for width, _, _ in kernels)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, maps: Tensor) -> Tensor:
        """[B, channels, F, T] -> [B, out, ceil(F / stride), ceil(T / stride)]."""
        shortcut = self.shortcut(maps)
        last = len(self.norms) - 1
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            maps = norm(convolution(maps), shortcut if number == last else None)
        return maps


class ResNet(nn.Module):
    """A ResNet of `depth` layers; `channels` is the width of its first stage, 32 as published.

    Weights and maps lie channels last in memory, from features to pooling; their shapes, and so the names and shapes
    of a checkpoint, are those of the ordinary order.
    StudentError when `channels` is less than 1.
    """

    def __init__(self, depth: int, *, bins: int, channels: int, embedding: int, pooling: str) -> None:
        super().__init__()
        if channels < 1:
            raise StudentError(f"student.channels is {channels}: a ResNet needs at least 1")
        deep = depth in DEEP
        self.first = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1, bias=False), Norm(channels))
        stages, width = [], channels
        for stage, count in enumerate((DEEP if deep else SMALL)[depth]):
            planes, blocks = channels * 2**stage, []
            for number in range(count):
                blocks.append(Block(width, planes, 2 if stage and not number else 1, deep))
                width = planes * EXPANSION if deep else planes
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.pooling = poolings.build(pooling, width * -(-bins // 2**HALVINGS))
        self.embedding: nn.Module = nn.Linear(self.pooling.width, embedding)
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)

    def forward(self, features: Tensor) -> Tensor:
        """Embedding of each utterance, not length-normalised: [B, T, bins] -> [B, d]."""
        maps = features.transpose(1, 2).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        return self.embedding(self.pooling(self.stages(self.first(maps)).flatten(1, 2)))


class TwoLayers(ResNet):
    """With a second layer after the embedding's own, as 3D-Speaker trains it and WeSpeaker did at first."""

    def __init__(self, depth: int, *, bins: int, channels: int, embedding: int, pooling: str) -> None:
        super().__init__(depth, bins=bins, channels=channels, embedding=embedding, pooling=pooling)
        self.embedding = nn.Sequential(
            self.embedding, nn.ReLU(), nn.BatchNorm1d(embedding, affine=False), nn.Linear(embedding, embedding)
        )


README = "WeSpeaker, examples/voxceleb/v2/README.md"
CODE = "counted: wespeaker/models/resnet.py at commit dfa741957e5c11f477623b6e583d67d0af25ee88; none is published"
for depth, parameters, source in (
    (18, 4.11, CODE),
    (34, 6.63, README),
    (50, 11.13, CODE),
    (101, 15.95, "WeSpeaker, examples/voxceleb/v2_deprecated/README.md (with a second layer after the embedding's)"),
    (152, 19.81, CODE),
    (221, 23.79, README),
    (293, 28.62, README),
):
    student(f"resnet{depth}", channels=32, embedding=256, pooling="tstp", parameters=parameters, source=source)(
        partial(ResNet, depth)
    )
student(
    "resnet34_speakerlab",
    channels=32,
    embedding=192,
    pooling="tstp",
    parameters=6.34,
    source="3D-Speaker, egs/voxceleb/sv-resnet/README.md",
)(partial(TwoLayers, 34))
