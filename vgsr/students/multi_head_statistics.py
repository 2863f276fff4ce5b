"""Multi-query multi-head attentive statistics pooling.

Zhao, Ma, Li, Xiang, Ren, "Multi-Query Multi-Head Attention Pooling and Inter-TopK Penalty for Speaker Verification",
ICASSP 2022 (arXiv 2110.05042), section 2. Sizes are WeSpeaker's (MQMHASTP).
"""

import torch
from torch import Tensor, nn

from vgsr.students import StudentError
from vgsr.students import pooling as poolings
from vgsr.students.frames import WeightedStatistics

HEADS = 8  # parts of the channels, each of which attends by itself
QUERIES = 2  # times that each head attends
BOTTLENECK = 64  # of one attention


@poolings.pooling("mqmhastp")
class MultiHeadStatistics(poolings.Pooling):
    """Weighted mean and deviation, once a query; attention of a head sees the channels of that head alone.

    Within a head each channel has its own attention over time. A bottleneck below 64 makes it narrower.
    StudentError when the channels do not divide into 8 heads.
    """

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        super().__init__(channels, bottleneck)
        if channels % HEADS:
            raise StudentError(
                f"student.pooling mqmhastp splits channels into {HEADS} heads: it cannot split the {channels} that "
                "student.backbone gives with this student.channels"
            )
        self.width = 2 * QUERIES * channels
        narrow = min(BOTTLENECK, bottleneck)
        # All attentions at once, as groups; in both layers all heads of the first query come first.
        self.hidden = nn.ModuleList(nn.Conv1d(channels, HEADS * narrow, 1, groups=HEADS) for _ in range(QUERIES))
        self.attention = nn.ModuleList(nn.Conv1d(HEADS * narrow, channels, 1, groups=HEADS) for _ in range(QUERIES))

    def forward(self, frames: Tensor) -> Tensor:
        """[B, C, T] -> [B, 4C]: mean and deviation of the first query, then of the second; always float32."""
        wide = frames.float().transpose(1, 2)
        out: list[Tensor] = []
        for hidden, attention in zip(self.hidden, self.attention, strict=True):
            scores = attention(torch.tanh(hidden(frames)))
            mean, variance = WeightedStatistics.apply(wide, scores.float().transpose(1, 2))
            out += (mean, poolings.deviation(variance))
        return torch.cat(out, dim=1)
