"""The section `augment` of an experiment: what happens to a crop of speech before a student hears it."""

from typing import Annotated

from pydantic import Field, model_validator

from vgsr.config.part import Part, Share

Range = tuple[float, float]  # the lower bound first
Weight = Annotated[float, Field(ge=0)]
Masks = Annotated[int, Field(ge=1, le=100)]
Speed = Annotated[float, Field(ge=0.5, le=2, multiple_of=0.01)]
MOST_VOICES = 100


class Kinds(Part):
    """How often a kind of noise is drawn, beside the others; 0 = never."""

    noise: Weight = 1.0
    music: Weight = 1.0
    babble: Weight = 1.0


class KindsSnr(Part):
    """dB, uniform. The bounds are those of Kaldi's lists of SNRs (egs/voxceleb/v2/run.sh)."""

    noise: Range = (0.0, 15.0)
    music: Range = (5.0, 15.0)
    babble: Range = (13.0, 20.0)


class Augment(Part):
    noise: str | None = None  # folder of noise recordings, laid out like MUSAN (noise/, music/, speech/) or not
    rirs: str | None = None  # folder of room impulse responses, laid out like RIRS_NOISES or not
    noise_probability: Share = 0.6
    rir_probability: Share = 0.3
    exclusive: bool = False  # noise or reverberation, never both of an utterance
    snr: Range = (0.0, 20.0)  # dB, uniform; of a folder that is not laid out like MUSAN
    kinds: Kinds = Kinds()  # of one that is
    kinds_snr: KindsSnr = KindsSnr()
    voices: tuple[int, int] = (3, 7)  # fewest and most recordings of speech/ that are mixed to babble, as in Kaldi
    speeds: tuple[Speed, ...] = (1.0,)  # one is drawn for each crop; 1.1 = a tenth faster, and higher
    speeds_as_speakers: bool = True  # a speaker at another speed is another class
    band_probability: Share = 0.0  # of losing what a telephone or a low sampling rate loses
    time_mask: int = Field(0, ge=0)  # frames at most
    time_masks: Masks = 1  # how many of them
    frequency_mask: int = Field(0, ge=0)  # mel bins at most
    frequency_masks: Masks = 1

    @model_validator(mode="after")
    def _range(self) -> "Augment":
        ranges = {"snr": self.snr, **{f"kinds_snr.{kind}": snr for kind, snr in self.kinds_snr}}
        for key, (low, high) in ranges.items():
            if low > high:
                raise ValueError(f"{key} runs from {low:g} down to {high:g} dB: write the lower bound first")
        if not 1 <= self.voices[0] <= self.voices[1] <= MOST_VOICES:
            raise ValueError(f"voices: babble is a mixture of 1 to {MOST_VOICES}, the fewest first")
        if not any(weight for _, weight in self.kinds):
            raise ValueError("kinds: no kind of noise is left; without augment.noise there is no noise")
        return self

    @model_validator(mode="after")
    def _apart(self) -> "Augment":
        if self.exclusive and self.noise_probability + self.rir_probability > 1:
            raise ValueError("exclusive: noise_probability and rir_probability are more than 1 together")
        return self

    @model_validator(mode="after")
    def _own_speed_first(self) -> "Augment":
        if not self.speeds or self.speeds[0] != 1 or len(set(self.speeds)) < len(self.speeds):
            raise ValueError("speeds are different factors, and the first is 1.0: its classes are the speakers as such")
        return self

    @property
    def classes(self) -> int:
        """How many classes a speaker has."""
        return len(self.speeds) if self.speeds_as_speakers else 1
