"""The front end of training: a batch of crops in, features out, on the training device and without gradients."""

import torch
from torch import nn

from vgsr import students
from vgsr.config import Experiment
from vgsr.data.augment import RirBank, Speeds, add_noise, band_limit, reverberate, spec_augment
from vgsr.data.features import Fbank


class Frontend(nn.Module):
    """Speed, reverberation, noise, a band's limits, filterbank, SpecAugment: in the order in which they happen."""

    rirs: torch.Tensor | None

    def __init__(self, experiment: Experiment, rirs: RirBank | None) -> None:
        super().__init__()
        settings = experiment.augment
        self.speeds = Speeds(settings.speeds)
        self.fbank = Fbank(students.bins(experiment.student))
        self.masked = settings.time_mask > 0 or settings.frequency_mask > 0
        self.register_buffer("rirs", rirs.rirs if rirs else None, persistent=False)

    @torch.no_grad()
    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """A collated batch → features `[B, frames, bins]`."""
        wave = batch["wave"]
        if "speed" in batch:
            wave = self.speeds(wave, batch["speed"])
        if self.rirs is not None:
            wave = reverberate(wave, self.rirs, batch["rir_index"])
        if "noise" in batch:
            wave = add_noise(wave, batch["noise"], batch["snr_db"])
        if "band" in batch:
            wave = band_limit(wave, batch["band"])
        features = self.fbank(wave)
        return spec_augment(features, batch["masks"]) if self.masked else features
