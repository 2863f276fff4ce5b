"""Crops of speech [B, T] in, disturbed speech [B, T] and masked features [B, F, M] out.

What happens to an utterance is *drawn* on the CPU, per utterance, from generators of that utterance's own (the caller
derives them from seed, epoch and position), so a batch does not depend on the number of workers. It is then *applied*
to the whole batch on the training device, in the order in which it happens on the way to a recogniser:

    worker:  recipe, rng = draw(stream, settings, …);  noise = noises.draw(recipe.kind, rng, samples)
    device:  wave = speeds(wave, drawn.speed)                             a speaker
             wave = reverberate(wave, bank.rirs, drawn.rir_index)         in a room
             wave = add_noise(wave, noise, drawn.snr_db)                  with other sounds in it
             wave = band_limit(wave, drawn.band)                          over a line
             features = spec_augment(fbank(wave), drawn.masks)
"""

from vgsr.data.augment.bands import BANDS, band_limit
from vgsr.data.augment.draws import Draw, Draws, draw, stack
from vgsr.data.augment.folders import SUFFIXES, listing
from vgsr.data.augment.kinds import Kind, Noises
from vgsr.data.augment.masks import spec_augment
from vgsr.data.augment.noise import SILENT, NoiseFile, NoiseSource, add_noise
from vgsr.data.augment.rooms import RirBank, reverberate, rir_files
from vgsr.data.augment.speed import Speeds, needed

__all__ = [
    "BANDS",
    "SILENT",
    "SUFFIXES",
    "Draw",
    "Draws",
    "Kind",
    "NoiseFile",
    "NoiseSource",
    "Noises",
    "RirBank",
    "Speeds",
    "add_noise",
    "band_limit",
    "draw",
    "listing",
    "needed",
    "reverberate",
    "rir_files",
    "spec_augment",
    "stack",
]
