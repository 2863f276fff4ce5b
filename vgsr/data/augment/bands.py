"""Lines: what of a signal's spectrum a telephone, a slow recording or a thrifty codec lets through.

It imitates the limits of their bands, not their other sounds: no quantisation, no artefacts of coding (of which a
recogniser learns much at low bit rates), no lost packets, no companding, no automatic gain.
"""

import math
from functools import lru_cache

import scipy.fft
import torch
from torch import Tensor

from vgsr.data.audio import RATE

# Hz: nothing below the first, everything from the second to the third, nothing above the fourth. Names for people.
BANDS: dict[str, tuple[float, float, float, float]] = {
    "telephone": (200.0, 300.0, 3400.0, 4000.0),  # ITU-T G.712's 300 to 3,400 Hz, sampled at 8 kHz
    "wideband telephone": (0.0, 50.0, 7000.0, 8000.0),  # ITU-T P.341's (and G.722's) 50 to 7,000 Hz
    "recorded at 8 kHz": (-1.0, 0.0, 3700.0, 4000.0),
    "recorded at 12 kHz": (-1.0, 0.0, 5500.0, 6000.0),  # also what medium-band codecs leave (RFC 6716, table 1)
}
TAIL = 2048  # samples of silence behind a row, in which what is left of the filters' responses dies away


def band_limit(wave: Tensor, band: Tensor) -> Tensor:
    """Rows of [B, T] with what lies outside band `band[b]` (a place in `BANDS`) taken off; -1 = as it is.

    Without delay, and within the band without change; between a limit and its stop the gain falls as a raised cosine
    of the frequency.
    """
    rows = (band >= 0).nonzero().squeeze(1)
    if len(rows) == 0:
        return wave
    points = scipy.fft.next_fast_len(wave.shape[1] + TAIL, real=True)
    spectrum = torch.fft.rfft(wave[rows], n=points) * _gains(points, wave.device)[band[rows]]
    return wave.index_copy(0, rows, torch.fft.irfft(spectrum, n=points)[:, : wave.shape[1]])


@lru_cache(maxsize=8)  # a few lengths of crops, on a device or two
def _gains(points: int, device: torch.device) -> Tensor:
    """Amplitudes [bands, points // 2 + 1]."""
    hertz = torch.fft.rfftfreq(points, 1 / RATE, device=device)
    edges = torch.tensor(list(BANDS.values()), device=device).T[:, :, None]  # [4, bands, 1]
    return _rise(hertz, edges[0], edges[1]) * (1 - _rise(hertz, edges[2], edges[3]))


def _rise(hertz: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """0 up to `low`, 1 from `high` on."""
    return 0.5 - 0.5 * torch.cos(math.pi * ((hertz - low) / (high - low)).clamp(0, 1))
