"""Whether a recording is fit to be judged: samples in; its condition, and what speaks against a verdict, out.

The limits are ours. They look at the recording alone and not at the model: a score is there for every recording that
can be embedded, and what it is worth is told beside it.
"""

import math
from dataclasses import dataclass

import numpy as np

from vgsr.data import audio, clipping, snr

FRAME = audio.RATE // 50  # samples of 20 ms: longer than a period of the lowest voices
# Loud vowels and soft consonants of one talker lie within 30 dB of each other, the pauses of a good recording below.
BELOW_LOUDEST = 30.0
# The loudest tenth of a second is the reference, not the loudest frame: a click must not make all speech look silent.
LOUDEST_FRAMES = 5

# One second holds about four syllables: less is a sample of sounds rather than of a voice.
LEAST_SPEECH = 1.0
# Where the student's errors rise: below it, our AVSpeech student missed half of the trials of one speaker with a noisy
# side, above it a quarter. Most speech in noise of equal power falls below; of ordinary recordings (video clips, read
# and acted speech) fewer than 2 %, and those are noisy indeed. The estimate knows noise by its Gaussian amplitudes: it
# takes other people's speech, and noise that comes in bursts, for clean speech.
LEAST_SNR = 5.0
# Below it, plateaus are to be seen (`vgsr.data.clipping`). Worth a remark; speakers can still be told apart.
CLIPPED = 0.5

MOST_TIMES = 1_000_000


@dataclass(frozen=True)
class Condition:
    """What a recording of `seconds` is like.

    speech: seconds of speech, an upper bound in noise, which hides the pauses; snr: estimated, in dB (WADA); headroom
    in dB (`vgsr.data.clipping`). snr and headroom are NaN where there is nothing but digital silence.
    """

    seconds: float
    speech: float
    snr: float
    headroom: float

    @property
    def problem(self) -> str | None:
        """What forbids a verdict, as what the recording has: "0.6 s of speech"; None where nothing does."""
        if self.speech < LEAST_SPEECH:
            return f"{_down(self.speech)} s of speech (a verdict needs {LEAST_SPEECH:g} s)"
        if self.snr < LEAST_SNR:
            return f"an estimated SNR of {_down(self.snr)} dB (a verdict needs {LEAST_SNR:g} dB)"
        return None

    @property
    def clipped(self) -> bool:
        """Whether so many samples are cut off that it shows."""
        return self.headroom < CLIPPED


def examine(wave: np.ndarray) -> Condition:
    """The condition of samples [T] at 16 kHz."""
    return Condition(
        seconds=len(wave) / audio.RATE,
        speech=speech_seconds(wave),
        snr=snr.wada_snr(wave),
        headroom=clipping.headroom(wave),
    )


def speech_seconds(wave: np.ndarray) -> float:
    """Seconds of the 20-ms frames of samples [T] that are at most 30 dB below the loudest tenth of a second.

    Power without its mean counts, so that an offset is not speech, and no frame of digital silence. Our definition:
    it knows how loud a frame is and not what sounds there.
    """
    whole = len(wave) // FRAME * FRAME
    power = np.asarray(wave[:whole], dtype=np.float64).reshape(-1, FRAME).var(axis=1)
    power = power[power > snr.DIGITAL_SILENCE**2]
    if not len(power):
        return 0.0
    loudest = np.sort(power)[-min(LOUDEST_FRAMES, len(power))]
    return int((power >= loudest * 10 ** (-BELOW_LOUDEST / 10)).sum()) * FRAME / audio.RATE


def in_words(llr: float) -> str:
    """A log-likelihood ratio (natural) as people say it: "58 times more likely one speaker than two"."""
    times = math.exp(min(abs(llr), math.log(MOST_TIMES)))
    if times < 1.05:
        return "as likely one speaker as two"
    sides = ("one speaker", "two") if llr > 0 else ("two speakers", "one")
    size = f"{times:.1f}" if times < 10 else f"{times:,.0f}"
    more = "over " if times >= MOST_TIMES * (1 - 1e-9) else ""
    return f"{more}{size} times more likely {sides[0]} than {sides[1]}"


def _down(value: float) -> str:
    """With one decimal, rounded down: what lacks a hundredth must not read as if it were enough."""
    return f"{math.floor(value * 10) / 10:.1f}"
