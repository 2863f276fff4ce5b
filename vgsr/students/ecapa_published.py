"""ECAPA-TDNN as toolkits train it, so that their published weights fit: features [B, T, bins] in, embedding [B, d] out.

The paper's blocks see the sum of all outputs before them (`vgsr.students.ecapa`); those of WeSpeaker and SpeechBrain,
and of 3D-Speaker after it, see the one before alone. No weights make one of the other.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgsr.students import pooling as poolings
from vgsr.students import student
from vgsr.students.ecapa import BOTTLENECK, DILATIONS, Ecapa
from vgsr.students.frames import FrameNorm, convolution
from vgsr.students.pooling import AttentiveStatistics


@student(
    "ecapa_wespeaker",
    channels=512,
    embedding=192,
    pooling="astp",
    parameters=6.19,
    source="WeSpeaker, examples/voxceleb/v2/README.md (1024 channels: 14.65 M)",
)
class EcapaWespeaker(Ecapa):
    """ECAPA-TDNN with a chain of blocks, and no batch norm after the embedding."""

    def __init__(self, *, bins: int, channels: int, embedding: int, pooling: str) -> None:
        super().__init__(bins=bins, channels=channels, embedding=embedding, pooling=pooling)
        del self.embedding_norm

    def forward(self, features: Tensor) -> Tensor:
        """Embedding of each utterance, not length-normalised: [B, T, bins] -> [B, d]."""
        outs = [self.first(features)]
        for block in self.blocks:
            outs.append(block(outs[-1]))
        pooled = self.pooling(self.aggregate(torch.cat(outs[1:], dim=2)).transpose(1, 2))
        return self.embedding(self.statistics_norm(pooled))


@poolings.pooling("astp_speechbrain")
class NormedAttentiveStatistics(AttentiveStatistics):
    """Attentive statistics whose attention has a ReLU and a batch norm before its tanh."""

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        super().__init__(channels, bottleneck)
        self.norm = FrameNorm(bottleneck)

    def hidden(self, frames: Tensor, context: Tensor) -> Tensor:
        return torch.tanh(self.norm(F.relu(self.frames(frames) + context)))


@student(
    "ecapa_speechbrain",
    channels=1024,
    embedding=192,
    pooling="astp_speechbrain",
    parameters=20.8,
    source="3D-Speaker, README.md, and SpeechBrain's spkrec-ecapa-voxceleb",
)
class EcapaSpeechbrain(EcapaWespeaker):
    """The chain with edges reflected instead of zeros, and an aggregation of 3C channels with a batch norm."""

    reflect = True

    def __init__(self, *, bins: int, channels: int, embedding: int, pooling: str) -> None:
        super().__init__(bins=bins, channels=channels, embedding=embedding, pooling=pooling)
        self.aggregate = convolution(3 * channels, 3 * channels)
        self.pooling = poolings.build(pooling, 3 * channels, min(BOTTLENECK, channels))
        self.statistics_norm = nn.BatchNorm1d(self.pooling.width)
        self.embedding = nn.Linear(self.pooling.width, embedding)

    def forward(self, features: Tensor) -> Tensor:
        """Embedding of each utterance, not length-normalised: [B, T, bins] -> [B, d]."""
        least = max(DILATIONS) + 1  # fewer frames cannot be reflected
        if features.shape[1] < least:
            features = torch.cat((features, features[:, -1:].expand(-1, least - features.shape[1], -1)), dim=1)
        return super().forward(features)
