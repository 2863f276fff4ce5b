"""Mean and deviation over time, every frame alike: the pooling of x-vectors and of every network after them that does
not attend (Snyder et al., ICASSP 2018; "TSTP" of WeSpeaker and 3D-Speaker)."""

import torch
from torch import Tensor

from vgsr.students import pooling as poolings


@poolings.pooling("tstp")
class TemporalStatistics(poolings.Pooling):
    """Mean and square root of (unbiased variance + 1e-7): the gradient is finite where a channel is constant.

    A single frame has no unbiased variance; there it is 0. 3D-Speaker adds 1e-8, and nothing in its CAM++, whose
    embeddings (published weights, LibriSpeech) turn by 1 − cos of 3e-9 on 2 s and 3e-8 on 0.3 s.
    """

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        super().__init__(channels, bottleneck)
        self.width = 2 * channels

    def forward(self, frames: Tensor) -> Tensor:
        """[B, C, T] -> [B, 2C], always float32."""
        variance, mean = torch.var_mean(frames.float(), dim=2, correction=min(1, frames.shape[2] - 1))
        return torch.cat((mean, (variance + poolings.VARIANCE_FLOOR).sqrt()), dim=1)
