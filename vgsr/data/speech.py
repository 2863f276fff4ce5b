"""How well an utterance was recorded: its waveform in, the manifest's columns of speech signals out."""

from collections.abc import Callable
from math import isfinite

import numpy as np

from vgsr.data.clipping import headroom
from vgsr.data.snr import wada_snr

SILENT = "digital silence: every sample is 0"

Rate = Callable[[np.ndarray], float]  # a waveform [T] at 16 kHz → how a listener would rate it


def measure(wave: np.ndarray, rate: Rate | None = None) -> dict[str, float | None] | None:
    """`speech_snr`, `speech_clipping` and, where somebody rates, `speech_dnsmos` of a waveform [T] at 16 kHz.

    A signal is None where it cannot be told; None for all where the utterance is SILENT, and of no use.
    """
    if not wave.any():
        return None
    return {
        "speech_snr": _known(wada_snr(wave)),
        "speech_clipping": _known(headroom(wave)),
        "speech_dnsmos": _known(rate(wave)) if rate else None,
    }


def _known(value: float) -> float | None:
    return value if isfinite(value) else None
