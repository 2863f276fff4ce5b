"""A waveform [T] in, its headroom in dB out: how far its loudest samples stay apart from one another.

Clipping cuts the loudest samples off at one height, so they end up close to the peak. Counting the samples at the
peak would be the direct measure, but resampling and lossy coding after the clipping spread them over some dB: on
speech clipped at 48 kHz, coded as MP3 and resampled to 16 kHz, such a count calls the worst clipping the cleanest.
The mean distance from the peak keeps its order there (our definition).
"""

import numpy as np

from vgsr.data.snr import DIGITAL_SILENCE

LOUDEST = 0.01  # share of the samples; where so many or more are clipped, the headroom is 0 dB
FEWEST = 100  # samples; below them the loudest hundredth is the peak alone


def headroom(wave: np.ndarray) -> float:
    """Mean of 20 log10(peak / |x|) over the loudest hundredth of the samples of `wave` [T], in dB, at least 0.

    Of clean speech about 3 to 8 dB (of a single second of it 2 to 6), below 0.5 where plateaus are to be seen; what
    lies between is compressed or limited rather than clipped. It does not depend on the level, and never rises when the
    same speech is clipped lower. Digital silence is left out; NaN where fewer than 100 samples are not.
    """
    amplitude = np.abs(wave, dtype=np.float64)
    amplitude = amplitude[amplitude > DIGITAL_SILENCE]
    if len(amplitude) < FEWEST:
        return float("nan")
    count = round(LOUDEST * len(amplitude))
    loudest = np.partition(amplitude, len(amplitude) - count)[-count:]
    return float(20 * np.log10(loudest.max() / loudest).mean())
