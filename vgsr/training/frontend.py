"""The front end of training: a batch of crops in, features out, on the training device and without gradients."""

import torch
from torch import nn

from vgsr.config import Experiment
from vgsr.data.augment import RirBank, add_noise, reverberate, spec_augment
from vgsr.data.features import Fbank

BINS = 80


class Frontend(nn.Module):
    """Reverberation, noise, filterbank, SpecAugment, in the order in which a room and a microphone do it."""

    rirs: torch.Tensor | None

    def __init__(self, experiment: Experiment, rirs: RirBank | None) -> None:
        super().__init__()
        self.fbank = Fbank(BINS)
        self.masked = experiment.augment.time_mask > 0 or experiment.augment.frequency_mask > 0
        self.register_buffer("rirs", rirs.rirs if rirs else None, persistent=False)

    @torch.no_grad()
    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """A collated batch → features `[B, frames, BINS]`."""
        wave = batch["wave"]
        if self.rirs is not None:
            wave = reverberate(wave, self.rirs, batch["rir_index"])
        if "noise" in batch:
            wave = add_noise(wave, batch["noise"], batch["snr_db"])
        features = self.fbank(wave)
        return spec_augment(features, batch["masks"]) if self.masked else features
