"""Features [B, T, bins] in, speaker embedding [B, d] out, by CAM++.

Wang, Zheng, Chen, Cheng, Chen, "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware
Masking", Interspeech 2023 (arXiv 2303.00332): a residual 2-D front end, then a densely connected TDNN whose layers
mask their output by what the utterance and the segment around say. Sizes, order and initialisation are the authors'
(3D-Speaker, speakerlab/models/campplus).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgsr.students import StudentError, student
from vgsr.students import pooling as poolings

BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers of each dense block, and the dilation of their convolutions
INITIAL = 4  # times `channels`: what the first dense block is given
BOTTLENECK = 4  # times `channels`: what each dense layer reduces its input to
SEGMENT = 100  # frames of one segment of the mask's context: 2 s, since the first layer halves the frame rate
HALVINGS = 3  # of the front end's frequency axis


class Residual(nn.Module):
    """Two 3 × 3 convolutions around a shortcut: [B, C, F, T] -> [B, C, ceil(F / stride), T]."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride=(stride, 1), padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, channels, 1, stride=(stride, 1), bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, frames: Tensor) -> Tensor:
        return F.relu(self.layers(frames) + self.shortcut(frames))


class Front(nn.Module):
    """The front end (FCM): looks at time and frequency together, and halves frequency three times, never time."""

    def __init__(self, bins: int, channels: int) -> None:
        super().__init__()
        self.width = channels * -(-bins // 2**HALVINGS)
        self.first = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.blocks = nn.Sequential(*(Residual(channels, stride) for stride in (2, 1, 2, 1)))
        self.last = nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride=(2, 1), padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, T, bins] -> [B, width, T]."""
        image = features.transpose(1, 2).unsqueeze(1)
        return self.last(self.blocks(self.first(image))).flatten(1, 2)


class Masked(nn.Module):
    """A dense layer with context-aware masking: it appends `growth` channels to what it is given."""

    def __init__(self, channels: int, growth: int, dilation: int) -> None:
        super().__init__()
        narrow = BOTTLENECK * growth
        self.reduce = nn.Sequential(
            nn.BatchNorm1d(channels),
            nn.ReLU(inplace=True),
            nn.Conv1d(channels, narrow, 1, bias=False),
            nn.BatchNorm1d(narrow),
            nn.ReLU(inplace=True),
        )
        self.local = nn.Conv1d(narrow, growth, 3, padding=dilation, dilation=dilation, bias=False)
        self.mask = nn.Sequential(
            nn.Conv1d(narrow, narrow // 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv1d(narrow // 2, growth, 1),
            nn.Sigmoid(),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """[B, C, T] -> [B, C + growth, T]."""
        reduced = self.reduce(frames)
        return torch.cat((frames, self.masked(reduced)), dim=1)

    def masked(self, reduced: Tensor) -> Tensor:
        """The convolution of [B, narrow, T], each segment of it times its mask: [B, growth, T]."""
        # The paper's context is the same at every frame of a segment: the mask is computed once a segment, not once
        # a frame. The last, shorter segment is averaged over the frames it has.
        segments = F.avg_pool1d(reduced, SEGMENT, SEGMENT, ceil_mode=True)
        mask = self.mask(reduced.mean(dim=2, keepdim=True) + segments)
        return self.local(reduced) * mask.repeat_interleave(SEGMENT, dim=2)[:, :, : reduced.shape[2]]


@student(
    "campplus",
    channels=32,
    embedding=512,
    pooling="tstp",
    parameters=7.18,
    source="WeSpeaker, examples/voxceleb/v2/README.md; 3D-Speaker, egs/voxceleb/sv-cam++/README.md",
)
class Campplus(nn.Module):
    """CAM++; `channels` is the growth rate of its dense blocks, 32 as published.

    Every other width is a fixed multiple of it, as in the published model: the front end has as many channels, the
    first TDNN layer and the bottlenecks four times as many. 3D-Speaker's models are 192 or 512 numbers wide.
    StudentError when `channels` is less than 1.
    """

    def __init__(self, *, bins: int, channels: int, embedding: int, pooling: str) -> None:
        super().__init__()
        if channels < 1:
            raise StudentError(f"student.channels is {channels}: CAM++ needs a growth rate of at least 1")
        self.front = Front(bins, channels)
        width = INITIAL * channels
        self.first = nn.Sequential(
            nn.Conv1d(self.front.width, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
        )
        blocks, transits = [], []
        for layers, dilation in BLOCKS:
            blocks.append(nn.Sequential(*(Masked(width + n * channels, channels, dilation) for n in range(layers))))
            width += layers * channels
            narrow = nn.Conv1d(width, width // 2, 1, bias=False)
            transits.append(nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(inplace=True), narrow))
            width //= 2
        self.blocks, self.transits = nn.ModuleList(blocks), nn.ModuleList(transits)
        self.norm = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(inplace=True))
        self.pooling = poolings.build(pooling, width)
        self.embedding = nn.Linear(self.pooling.width, embedding, bias=False)
        self.embedding_norm = nn.BatchNorm1d(embedding, affine=False)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Embedding of each utterance, not length-normalised: [B, T, bins] -> [B, d]."""
        frames = self.first(self.front(features))
        for block, transit in zip(self.blocks, self.transits, strict=True):
            frames = transit(block(frames))
        return self.embedding_norm(self.embedding(self.pooling(self.norm(frames))))
