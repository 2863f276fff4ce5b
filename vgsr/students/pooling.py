"""Frames [B, C, T] of any length in, one vector of statistics [B, width] an utterance out.

A new pooling is a class here with `@pooling("its name")`: built from the number of channels and the bottleneck of its
attention, if it has one; its `width` says how many numbers come out.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from vgsr.config import nearest
from vgsr.students import StudentError
from vgsr.students.frames import FrameConvolution, Statistics, WeightedStatistics

# Below this variance a channel counts as constant; it bounds the slope of the square root.
VARIANCE_FLOOR = 1e-7


class Pooling(nn.Module):
    """What all of them are: [B, C, T] -> [B, width]."""

    width: int

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()


P = TypeVar("P", bound=type[Pooling])
POOLINGS: dict[str, type[Pooling]] = {}


def pooling(name: str) -> Callable[[P], P]:
    """Decorator: make the class available under `name`, unchanged."""

    def register(made: P) -> P:
        POOLINGS[name] = made
        return made

    return register


def build(name: str, channels: int, bottleneck: int = 128) -> Pooling:
    """A new pooling of frames of `channels`; StudentError when there is none of that name, with the nearest one."""
    if name not in POOLINGS:
        raise StudentError(f"student.pooling: no pooling is called {name!r}{nearest(name, POOLINGS)}")
    return POOLINGS[name](channels, bottleneck)


def deviation(variance: Tensor) -> Tensor:
    """Standard deviation of a variance of any shape, with a finite gradient at 0."""
    return variance.clamp(min=VARIANCE_FLOOR).sqrt()


@pooling("astp")
class AttentiveStatistics(Pooling):
    """Channel- and context-dependent attentive statistics pooling (the ECAPA-TDNN paper, section 3.1).

    Each channel has its own attention over time, which also sees the mean and deviation of the whole
    utterance.
    """

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        super().__init__(channels, bottleneck)
        self.width = 2 * channels
        self.frames = FrameConvolution(channels, bottleneck)
        # W [frame; mean; deviation] = W1 frame + W2 [mean; deviation]: the second part is the same at every
        # frame, so it is computed once an utterance instead of on a tensor three times as large.
        self.context = nn.Linear(2 * channels, bottleneck, bias=False)
        self.attention = FrameConvolution(bottleneck, channels)

    def hidden(self, frames: Tensor, context: Tensor) -> Tensor:
        """What attention looks at: frames [B, T, C] in their context [B, 1, bottleneck] -> [B, T, bottleneck]."""
        return torch.tanh(self.frames(frames) + context)

    def forward(self, frames: Tensor) -> Tensor:
        """Weighted mean and standard deviation over time: [B, C, T] -> [B, 2C], always float32."""
        frames = frames.transpose(1, 2)
        wide = frames.float()
        mean, variance = Statistics.apply(wide)
        context = self.context(torch.cat((mean, deviation(variance)), dim=1))
        scores = self.attention(self.hidden(frames, context.unsqueeze(1)))
        mean, variance = WeightedStatistics.apply(wide, scores.float())
        return torch.cat((mean, deviation(variance)), dim=1)


from vgsr.students import multi_head_statistics as multi_head_statistics  # noqa: E402  (a pooling registers itself)
from vgsr.students import temporal_statistics as temporal_statistics  # noqa: E402
