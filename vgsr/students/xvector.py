"""Features [B, T, bins] in, speaker embedding [B, d] out, by a TDNN: the x-vector.

Snyder, Garcia-Romero, Sell, Povey, Khudanpur, "X-vectors: Robust DNN Embeddings for Speaker Recognition", ICASSP 2018,
table 1. The embedding is what the last layer before the classifier gives, as WeSpeaker has it (XVEC); the paper's is
one layer earlier.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from vgsr.students import StudentError, student
from vgsr.students import pooling as poolings

CONTEXTS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))  # frames that each layer sees, and the steps between them
FRAMES = 1 + sum((kernel - 1) * dilation for kernel, dilation in CONTEXTS)  # 15: what one output sees
STATISTICS = 1500 / 512  # times `channels`: width of the last of these layers


@student(
    "xvector",
    channels=512,
    embedding=512,
    pooling="tstp",
    parameters=4.61,
    source="WeSpeaker, examples/voxceleb/v2/README.md",
)
class Xvector(nn.Module):
    """The x-vector network; `channels` is the width of its TDNN layers, 512 as published.

    Batch norms have no slope or offset, as Kaldi's. StudentError when `channels` is less than 1.
    """

    def __init__(self, *, bins: int, channels: int, embedding: int, pooling: str) -> None:
        super().__init__()
        if channels < 1:
            raise StudentError(f"student.channels is {channels}: an x-vector network needs at least 1")
        last = int(STATISTICS * channels)
        layers: list[nn.Module] = []
        width = bins
        for (kernel, dilation), out in zip(CONTEXTS, (*[channels] * 4, last), strict=True):
            layers += [
                nn.Conv1d(width, out, kernel, dilation=dilation),
                nn.ReLU(inplace=True),
                nn.BatchNorm1d(out, affine=False),
            ]
            width = out
        self.frames = nn.Sequential(*layers)
        self.pooling = poolings.build(pooling, last)
        self.segment = nn.Sequential(
            nn.Linear(self.pooling.width, embedding),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(embedding, affine=False),
            nn.Linear(embedding, embedding),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Embedding of each utterance, not length-normalised: [B, T, bins] -> [B, d]."""
        frames = features.transpose(1, 2)
        # No layer pads. What is shorter than one output sees is lengthened by its first and last frame.
        short = max(0, FRAMES - frames.shape[2])
        if short:
            frames = F.pad(frames, (short // 2, short - short // 2), mode="replicate")
        return self.segment(self.pooling(self.frames(frames)))
