"""What is to happen to an utterance: random streams and settings in, a recipe, and those of a batch as tensors, out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vgsr.config.augment import Augment
from vgsr.data.augment.bands import BANDS
from vgsr.data.augment.kinds import Kind
from vgsr.data.augment.masks import Mask, mask
from vgsr.data.batches import Stream


@dataclass(frozen=True)
class Draw:
    """What is to happen to one utterance; every field says "nothing" by its default."""

    snr_db: float = math.inf
    kind: int = 0  # place among the kinds of noise, whether there is noise or not
    rir_index: int = -1
    speed: int = 0  # place in `augment.speeds`, of which 0 is 1.0
    band: int = -1  # place in BANDS
    masks: tuple[Mask, ...] = ()


class Draws(NamedTuple):
    """The draws of a batch as tensors."""

    snr_db: Tensor  # [B] float32, inf = no noise
    rir_index: Tensor  # [B] int64, -1 = no reverberation
    speed: Tensor  # [B] int64
    band: Tensor  # [B] int64, -1 = the whole band
    masks: Tensor  # [B, N, 4] int64: first frame, frames, first bin, bins


def draw(
    stream: Callable[[Stream], np.random.Generator],
    settings: Augment,
    *,
    frames: int,
    bins: int = 80,
    kinds: Sequence[Kind] = (),
    rirs: int = 0,
) -> tuple[Draw, np.random.Generator]:
    """The recipe of one utterance of `frames` × `bins` features, and the generator that its noise is drawn with next.

    kinds: of noise; none = there is no noise. rirs: how many impulse responses there are.

    Every part has numbers of its own, eight of the stream AUGMENT and four of the stream MORE (behind which are those
    of the masks after the first), whatever the settings are. So changing one setting leaves the other draws as they
    were.
    """
    rng = stream(Stream.AUGMENT)
    noisy, level, reverberant, rir, *places = rng.random(8).tolist()
    masks = [places]
    which, speed, limited, band = 0.0, 0.0, 1.0, 0.0
    count = max(settings.time_masks, settings.frequency_masks)
    if len(kinds) > 1 or len(settings.speeds) > 1 or settings.band_probability or count > 1:  # a stream takes a while
        which, speed, limited, band, *others = stream(Stream.MORE).random(4 * count).tolist()
        masks += [others[at : at + 4] for at in range(0, len(others), 4)]
    kind = _kind(which, kinds) if len(kinds) > 1 else 0
    low, high = kinds[kind].snr if kinds else settings.snr
    if settings.exclusive:  # from both ends of one number's range, so that neither depends on the other's share
        reverberant = 1 - noisy
    noisy_too = kinds and noisy < settings.noise_probability
    in_a_room = rirs and reverberant < settings.rir_probability
    return Draw(
        snr_db=low + level * (high - low) if noisy_too else math.inf,
        kind=kind,
        rir_index=int(rir * rirs) if in_a_room else -1,
        speed=int(speed * len(settings.speeds)),
        band=int(band * len(BANDS)) if limited < settings.band_probability else -1,
        masks=tuple(_mask(place, numbers, settings, frames, bins) for place, numbers in enumerate(masks)),
    ), rng


def stack(draws: Sequence[Draw]) -> Draws:
    """The draws of a batch, in order, as tensors."""
    return Draws(
        torch.tensor([one.snr_db for one in draws], dtype=torch.float32),
        torch.tensor([one.rir_index for one in draws], dtype=torch.int64),
        torch.tensor([one.speed for one in draws], dtype=torch.int64),
        torch.tensor([one.band for one in draws], dtype=torch.int64),
        torch.tensor([one.masks for one in draws], dtype=torch.int64).reshape(len(draws), -1, 4),
    )


def _kind(share: float, kinds: Sequence[Kind]) -> int:
    reached = list(accumulate(kind.weight for kind in kinds))
    return next(place for place, bound in enumerate(reached) if share * reached[-1] < bound)


def _mask(place: int, numbers: Sequence[float], settings: Augment, frames: int, bins: int) -> Mask:
    """The mask of time and frequency in this place; without a width where there are not as many of the one."""
    time, start, height, low = numbers
    widest = settings.time_mask if place < settings.time_masks else 0
    highest = settings.frequency_mask if place < settings.frequency_masks else 0
    return *mask(time, start, widest, frames), *mask(height, low, highest, bins)
