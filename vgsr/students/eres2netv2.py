"""Features [B, T, bins] in, speaker embedding [B, d] out, by ERes2NetV2.

Chen et al., "ERes2NetV2: Boosting Short-Duration Speaker Verification Performance with Computational Efficiency",
Interspeech 2024 (arXiv 2406.02167): a Res2Net over time and frequency that weighs what it adds, within the blocks of
its last two stages and between these stages. Sizes and order are the authors' (3D-Speaker,
speakerlab/models/eres2net, settings of egs/voxceleb/sv-eres2netv2).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgsr.students import StudentError, student
from vgsr.students import pooling as poolings

BLOCKS = (3, 4, 6, 3)  # of each stage
FUSED = 2  # from this stage on the groups of a block are fused by attention, not added
SCALE = 2  # groups of a block
EXPANSION = 2
BASE_WIDTH = 26  # channels of a group, of 64 channels of the stage
CEILING = 20.0  # where the rectifiers within the blocks are cut off
REDUCTION = 4  # bottleneck of the fusion
LEAST = 3  # channels with which each group and each bottleneck has one


def convolution(channels: int, out: int, kernel: int = 1, stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """Convolution without bias, batch norm: [B, channels, F, T] -> [B, out, ceil(F / stride), ceil(T / stride)]."""
    return nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(out)


def rectifier() -> nn.Module:
    """min(max(x, 0), 20)."""
    return nn.Hardtanh(0.0, CEILING, inplace=True)


class Fusion(nn.Module):
    """Attentional fusion of two maps [B, C, F, T] each: (1 + a) ⊙ x + (1 − a) ⊙ y, a in −1…1 from both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // REDUCTION
        self.weigh = nn.Sequential(
            nn.Conv2d(2 * channels, narrow, 1),
            nn.BatchNorm2d(narrow),
            nn.SiLU(inplace=True),
            nn.Conv2d(narrow, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        weight = torch.tanh(self.weigh(torch.cat((x, y), dim=1)))
        return torch.addcmul(x + y, weight, x - y)


class Block(nn.Module):
    """Res2Net block (Gao et al., 2019): each group of channels also sees what came of the group before."""

    def __init__(self, channels: int, planes: int, stride: int, fused: bool) -> None:
        super().__init__()
        width, out = planes * BASE_WIDTH // 64, planes * EXPANSION
        self.enter = nn.Sequential(*convolution(channels, width * SCALE, stride=stride), rectifier())
        self.groups = nn.ModuleList(
            nn.Sequential(*convolution(width, width, kernel=3), rectifier()) for _ in range(SCALE)
        )
        self.fusions = nn.ModuleList(Fusion(width) for _ in range(SCALE - 1 if fused else 0))
        self.leave = nn.Sequential(*convolution(width * SCALE, out))
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            self.shortcut = nn.Sequential(*convolution(channels, out, stride=stride))

    def forward(self, maps: Tensor) -> Tensor:
        """[B, channels, F, T] -> [B, EXPANSION · planes, ceil(F / stride), ceil(T / stride)]."""
        outs: list[Tensor] = []
        for number, (group, chunk) in enumerate(zip(self.groups, self.enter(maps).chunk(SCALE, dim=1), strict=True)):
            if number:
                chunk = self.fusions[number - 1](outs[-1], chunk) if self.fusions else outs[-1] + chunk
            outs.append(group(chunk))
        out = self.leave(torch.cat(outs, dim=1)) + self.shortcut(maps)
        return F.hardtanh(out, 0.0, CEILING, inplace=True)


@student(
    "eres2netv2",
    channels=64,
    embedding=192,
    pooling="tstp",
    parameters=17.8,
    source="3D-Speaker, egs/voxceleb/sv-eres2netv2/README.md",
)
class Eres2netv2(nn.Module):
    """ERes2NetV2; `channels` is the width of the first stage, 64 as published; each stage after it is twice as wide.

    StudentError when `channels` is less than 3, which would leave a group or a bottleneck without a channel.
    """

    def __init__(self, *, bins: int, channels: int, embedding: int, pooling: str) -> None:
        super().__init__()
        if channels < LEAST:
            raise StudentError(f"student.channels is {channels}: ERes2NetV2 needs at least {LEAST}")
        self.first = nn.Sequential(*convolution(1, channels, kernel=3), nn.ReLU(inplace=True))
        stages, width = [], channels
        for stage, count in enumerate(BLOCKS):
            planes, blocks = channels * 2**stage, []
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                blocks.append(Block(width, planes, stride, fused=stage >= FUSED))
                width = planes * EXPANSION
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.downsample = nn.Conv2d(width // 2, width, 3, stride=2, padding=1, bias=False)
        self.fusion = Fusion(width)
        self.pooling = poolings.build(pooling, width * -(-bins // 2 ** (len(BLOCKS) - 1)))
        self.embedding = nn.Linear(self.pooling.width, embedding)

    def forward(self, features: Tensor) -> Tensor:
        """Embedding of each utterance, not length-normalised: [B, T, bins] -> [B, d]."""
        maps = self.first(features.transpose(1, 2).unsqueeze(1))
        for stage in self.stages[:-1]:
            maps = stage(maps)
        fused = self.fusion(self.stages[-1](maps), self.downsample(maps))
        return self.embedding(self.pooling(fused.flatten(1, 2)))
