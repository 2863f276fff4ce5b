"""Masks on features: SpecAugment (Park et al., Interspeech 2019), its frequency and time masking."""

import torch
from torch import Tensor

Mask = tuple[int, int, int, int]  # first frame, frames, first bin, bins


def mask(share: float, place: float, widest: int, size: int) -> tuple[int, int]:
    """Start and width of a mask of 0…`widest` in `size`, from two numbers in [0, 1)."""
    width = int(share * (min(widest, size) + 1))
    return int(place * (size - width + 1)), width


def spec_augment(features: Tensor, masks: Tensor) -> Tensor:
    """Mean-normalised features [B, F, M] with the frames and bins of `Draws.masks` [B, N, 4] set to 0."""
    frame, frames, low, bins = masks.unsqueeze(3).unbind(2)
    kept_frames = ~_between(features.shape[1], frame, frames)
    kept_bins = ~_between(features.shape[2], low, bins)
    # By factors: on a CPU three times as fast as to fill a mask of all elements.
    return (features * kept_frames.unsqueeze(2)).mul_(kept_bins.unsqueeze(1))


def _between(size: int, start: Tensor, width: Tensor) -> Tensor:
    """[B, size] bool from [B, N, 1] starts and widths: where any of the N lies."""
    place = torch.arange(size, device=start.device)
    return ((place >= start) & (place < start + width)).any(dim=1)
