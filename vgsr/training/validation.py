"""Validation: the student on the trials of held-out training speakers, shared out among the workers."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from vgsr.data.augment import NoiseSource
from vgsr.data.features import Fbank
from vgsr.data.manifest import Manifest
from vgsr.evaluation import calibration, embedding, metrics, noisy, protocol, scoring
from vgsr.evaluation.lists import VALIDATION

NOISY = "val_noisy_eer"  # figure: mean EER over the SNRs of evaluate.snr


@dataclass(frozen=True)
class Validation:
    """Figures of one validation, and what the finished model decides by."""

    result: protocol.Result  # on speech as it was recorded
    calibration: calibration.Calibration
    noisy: Mapping[float, float]  # SNR in dB → EER in [0, 1] with both sides of each trial disturbed; empty = not asked

    def figures(self) -> dict[str, float]:
        """By their names in a run: `val_eer`, `val_min_dcf_0.01`, …; with noise `val_eer_10dB`, … and their mean.

        The mean over the SNRs is our definition.
        """
        figures = {"val_eer": self.result.eer}
        figures |= {f"val_min_dcf_{p:g}": value for p, value in self.result.min_dcf.items()}
        if self.noisy:
            figures |= {f"val_eer_{snr:g}dB": eer for snr, eer in self.noisy.items()}
            figures[NOISY] = statistics.fmean(self.noisy.values())
        return figures


def validate(
    student: nn.Module,
    fbank: Fbank,
    manifest: Manifest,
    p_targets: tuple[float, ...],
    *,
    noise: NoiseSource | None,
    snrs: Sequence[float],
    rank: int,
    world: int,
    device: torch.device,
    advance: Callable[[], None] = lambda: None,
) -> Validation:
    """Score the validation list; every worker embeds its share and returns the same figures. `advance` is called after
    each utterance of the own share.

    With `noise`, the list is scored once more for each SNR in `snrs` (dB), and costs as much each time. With several
    workers the running statistics of normalisation layers are those of rank 0, as in the checkpoint.
    """
    if world > 1:
        for buffer in student.buffers():
            dist.broadcast(buffer, 0)
    trials = manifest.named_trials(VALIDATION)
    ids, labels = embedding.trial_utterances(trials), trials["label"].to_numpy()

    def scores(disturb: embedding.Disturb) -> np.ndarray:
        own = embedding.embed(student, fbank, manifest, ids[rank::world], device, advance, disturb)
        return scoring.cosine_scores(_whole(own, len(ids), world), ids, trials)

    clean = scores(embedding.as_recorded)
    return Validation(
        protocol.evaluate(clean, labels, protocol.of_list(manifest, VALIDATION), p_targets),
        calibration.fit(clean, labels),
        {snr: metrics.eer(scores(noisy.disturbed(noise, snr)), labels).value for snr in snrs} if noise else {},
    )


def _whole(own: np.ndarray, count: int, world: int) -> np.ndarray:
    """Embeddings `[count, d]` from the workers' shares, of which each took every `world`-th."""
    if world == 1:
        return own
    parts: list[np.ndarray] = [own] * world
    dist.all_gather_object(parts, own)
    vectors = np.zeros((count, max(part.shape[1] for part in parts)), np.float32)
    for number, part in enumerate(parts):
        vectors[number::world] = part
    return vectors
