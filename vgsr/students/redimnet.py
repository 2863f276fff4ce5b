"""Features [B, T, bins] in, speaker embedding [B, d] out, by ReDimNet.

Yakovlev et al., "Reshape Dimensions Network for Speaker Recognition", Interspeech 2024 (arXiv 2407.18223): convolutions
over time and frequency and blocks over time take turns on the same numbers, F maps of C channels or F·C channels, and
each stage sees all outputs before it. Sizes are those of WeSpeaker (wespeaker/models/redimnet.py): the authors' stand
in their checkpoints only. That of B5 holds these layers and a batch norm before the embedding, 7.66 M parameters, not
the paper's 9.2; that of B2 must be another, for its file has place for 5.07 M.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor, nn

from vgsr.students import StudentError, student
from vgsr.students import pooling as poolings
from vgsr.students.redimnet_blocks import (
    EPSILON,
    HEADS,
    FrequencyExcitation,
    MapConvolution,
    MapNorm,
    Residual,
    TimeContext,
    WeightedSum,
    separable_map,
)

BOTTLENECK = 128  # of attention in the pooling


@dataclass(frozen=True)
class Stage:
    """Frequencies are merged by `stride`; then `blocks` blocks on `wider` times as many channels; then, unless
    `narrower` is 0, a block over time on that share of all numbers of a frame."""

    stride: int
    blocks: int
    wider: int
    narrower: int


@dataclass(frozen=True)
class Size:
    """A published size; `group`: how many channels a grouped convolution takes together, or some more."""

    name: str
    bins: int
    channels: int
    block: Literal["separable", "residual", "excited"]
    group: int
    stages: tuple[Stage, ...]
    parameters: float
    source: str

    def groups(self, channels: int) -> int:
        """In how many groups `channels` are convolved."""
        return max(1, channels // self.group)


def stages(*sizes: tuple[int, int, int, int]) -> tuple[Stage, ...]:
    """Stages of (stride, blocks, wider, narrower)."""
    return tuple(Stage(*size) for size in sizes)


SOURCE = "WeSpeaker, wespeaker/models/redimnet.py (the paper: {} M)"
B4 = stages((1, 4, 2, 48), (2, 4, 2, 48), (1, 6, 2, 48), (2, 6, 1, 32), (1, 8, 1, 24), (2, 4, 1, 16))
SIZES = (
    Size(
        "redimnet_b0",
        60,
        10,
        "residual",
        1,
        stages((1, 2, 1, 30), (2, 3, 2, 30), (1, 3, 3, 30), (2, 4, 2, 10), (1, 3, 1, 10)),
        1.00,
        SOURCE.format("1.0"),
    ),
    Size(
        "redimnet_b1",
        72,
        12,
        "separable",
        8,
        stages((1, 2, 1, 0), (2, 3, 1, 0), (3, 4, 1, 12), (2, 5, 1, 12), (2, 3, 1, 8)),
        2.12,
        SOURCE.format("2.2"),
    ),
    Size(
        "redimnet_b2",
        72,
        16,
        "separable",
        4,
        stages((1, 2, 1, 12), (2, 2, 1, 12), (1, 3, 1, 12), (2, 4, 1, 8), (1, 4, 1, 8), (2, 4, 1, 4)),
        4.89,
        SOURCE.format("4.7"),
    ),
    Size(
        "redimnet_b3",
        72,
        16,
        "excited",
        1,
        stages((1, 6, 4, 32), (2, 6, 2, 32), (1, 8, 2, 32), (2, 10, 2, 16), (1, 10, 1, 16), (2, 8, 1, 16)),
        3.22,
        SOURCE.format("3.0"),
    ),
    Size("redimnet_b4", 72, 32, "excited", 1, B4, 6.43, SOURCE.format("6.3")),
    Size("redimnet_b5", 72, 32, "excited", 16, B4, 7.66, f"the authors' checkpoint; {SOURCE.format('9.2')}"),
    Size(
        "redimnet_b6",
        72,
        32,
        "residual",
        32,
        stages((1, 4, 4, 32), (2, 6, 2, 32), (1, 6, 2, 24), (3, 8, 1, 24), (1, 8, 1, 16), (2, 8, 1, 16)),
        15.01,
        SOURCE.format("15.0"),
    ),
)


class StageLayers(nn.Module):
    """One stage, from frames [B, T, F·C] over maps [B, T, F, C] to frames again."""

    def __init__(self, size: Size, stage: Stage, frequencies: int, channels: int) -> None:
        super().__init__()
        self.frequencies = frequencies
        whole, left, out = frequencies * channels, frequencies // stage.stride, channels * stage.stride
        wide = out * stage.wider
        if frequencies % stage.stride or wide % size.groups(wide) or out % size.groups(out):
            raise StudentError(
                f"student.channels: {size.name} cannot be built with {channels} channels of {frequencies} frequencies: "
                f"a stage merges {stage.stride} frequencies, and convolves some {size.group} channels together"
            )
        layers: list[nn.Module] = [MapConvolution(channels, wide, stride=stage.stride)]
        layers += [_block(size, wide, left) for _ in range(stage.blocks)]
        if stage.wider > 1:
            layers += [
                MapConvolution(wide, out, 3, groups=size.groups(out)),
                MapNorm(out, eps=EPSILON),
                nn.GELU(),
                MapConvolution(out, out),
            ]
        self.maps = nn.Sequential(*layers)
        self.context: nn.Module = nn.Identity()
        if stage.narrower:
            narrow = whole // stage.narrower
            if narrow < HEADS or narrow % HEADS:
                raise StudentError(
                    f"student.channels: {size.name} cannot be built with {whole} numbers a frame: a "
                    f"{stage.narrower}th of them is not a multiple of its {HEADS} heads of attention"
                )
            self.context = TimeContext(whole, narrow)

    def forward(self, frames: Tensor) -> Tensor:
        """[B, T, F·C] -> [B, T, F·C]; number f·C + c is that of map f and channel c."""
        return self.context(self.maps(frames.unflatten(2, (self.frequencies, -1))).flatten(2))


def _block(size: Size, channels: int, frequencies: int) -> nn.Module:
    groups = size.groups(channels)
    if size.block == "separable":
        return separable_map(channels, groups)
    excitation = None
    if size.block == "excited":
        excitation = FrequencyExcitation(frequencies, min(64, max(channels, 32)))
    return Residual(channels, groups, excitation)


class ReDimNet(nn.Module):
    """ReDimNet of a size, `channels` wide at full frequency resolution. StudentError where its groups, heads or merges
    of frequencies do not come out even."""

    def __init__(self, size: Size, *, bins: int, channels: int, embedding: int, pooling: str) -> None:
        super().__init__()
        if channels < 1:
            raise StudentError(f"student.channels is {channels}: {size.name} needs at least 1")
        self.first = MapConvolution(1, channels, 3)
        self.first_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.sums, self.stages = nn.ModuleList(), nn.ModuleList()
        frequencies, width = bins, channels
        for number, stage in enumerate(size.stages):
            # The first has nothing to choose from.
            self.sums.append(WeightedSum(number + 1, bins * channels) if number else nn.Identity())
            self.stages.append(StageLayers(size, stage, frequencies, width))
            frequencies, width = frequencies // stage.stride, width * stage.stride
        self.last_sum = WeightedSum(len(size.stages) + 1, bins * channels)
        self.pooling = poolings.build(pooling, bins * channels, BOTTLENECK)
        self.embedding = nn.Linear(self.pooling.width, embedding)

    def forward(self, features: Tensor) -> Tensor:
        """Embedding of each utterance, not length-normalised: [B, T, bins] -> [B, d]."""
        outs = [self.first_norm(self.first(features.unsqueeze(3))).flatten(2)]
        for number, (total, stage) in enumerate(zip(self.sums, self.stages, strict=True)):
            outs.append(stage(total(outs) if number else outs[0]))
        return self.embedding(self.pooling(self.last_sum(outs).transpose(1, 2)))


for _size in SIZES:
    student(
        _size.name,
        bins=_size.bins,
        channels=_size.channels,
        embedding=192,
        pooling="astp",
        parameters=_size.parameters,
        source=_size.source,
    )(partial(ReDimNet, _size))
