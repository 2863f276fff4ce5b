"""Frames [B, C, T] of any length in, one vector of statistics [B, 2C] an utterance out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Below this variance a channel counts as constant; it bounds the slope of the square root.
VARIANCE_FLOOR = 1e-7


def deviation(variance: Tensor) -> Tensor:
    """Standard deviation of a variance of any shape, with a finite gradient at 0."""
    return variance.clamp(min=VARIANCE_FLOOR).sqrt()


class AttentiveStatistics(nn.Module):
    """Channel- and context-dependent attentive statistics pooling (the ECAPA-TDNN paper, section 3.1).

    Each channel has its own attention over time, which also sees the mean and deviation of the whole
    utterance.
    """

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        super().__init__()
        self.frames = nn.Conv1d(channels, bottleneck, kernel_size=1)
        # W [frame; mean; deviation] = W1 frame + W2 [mean; deviation]: the second part is the same at every
        # frame, so it is computed once an utterance instead of on a tensor three times as large.
        self.context = nn.Linear(2 * channels, bottleneck, bias=False)
        self.attention = nn.Conv1d(bottleneck, channels, kernel_size=1)

    def forward(self, frames: Tensor) -> Tensor:
        """Weighted mean and standard deviation over time: [B, C, T] -> [B, 2C], always float32."""
        wide = frames.float()
        variance, mean = torch.var_mean(wide, dim=2, correction=0)
        context = self.context(torch.cat((mean, deviation(variance)), dim=1))
        hidden = torch.tanh(self.frames(frames) + context.unsqueeze(2))
        weights = F.softmax(self.attention(hidden).float(), dim=2)
        mean = (weights * wide).sum(dim=2, keepdim=True)
        # Around the mean, not E[x²] − E[x]²: that difference loses every digit where the mean is large.
        variance = (weights * (wide - mean).square()).sum(dim=2)
        return torch.cat((mean.squeeze(2), deviation(variance)), dim=1)
