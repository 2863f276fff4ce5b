"""Validation: the student on the trials of held-out training speakers, shared out among the workers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from vgsr.data.features import Fbank
from vgsr.data.manifest import Manifest
from vgsr.evaluation import calibration, embedding, protocol, scoring

LIST = "validation"


@dataclass(frozen=True)
class Validation:
    """Figures of one validation, and what the finished model decides by."""

    result: protocol.Result
    calibration: calibration.Calibration


def test_lists(manifest: Manifest, names: Sequence[str]) -> list[str]:
    """The trial lists to test on: `names`, or every list of the manifest but `validation`."""
    return list(names) or [name for name in manifest.trials if name != LIST]


def protocol_of(manifest: Manifest, trials: str, seeds: int = 1) -> protocol.Protocol:
    """The protocol by which a student of ours is scored on the list `trials` of a manifest."""
    table = manifest.named_trials(trials)
    return protocol.Protocol(
        trials=f"{manifest.corpus}/{trials}",
        count=len(table),
        digest=protocol.trials_digest(table),
        enrolment="1 utterance",
        normalisation="cosine, no score normalisation",
        seeds=seeds,
        synthetic=manifest.synthetic,
    )


def validate(
    student: nn.Module,
    fbank: Fbank,
    manifest: Manifest,
    p_targets: tuple[float, ...],
    *,
    rank: int,
    world: int,
    device: torch.device,
) -> Validation:
    """Score the validation list; every worker embeds its share and returns the same figures.

    With several workers the running statistics of normalisation layers are those of rank 0, as in the checkpoint.
    """
    if world > 1:
        for buffer in student.buffers():
            dist.broadcast(buffer, 0)
    trials = manifest.named_trials(LIST)
    ids = embedding.trial_utterances(trials)
    own = embedding.embed(student, fbank, manifest, ids[rank::world], device)
    vectors = own
    if world > 1:
        parts: list[np.ndarray] = [own] * world
        dist.all_gather_object(parts, own)
        vectors = np.zeros((len(ids), max(part.shape[1] for part in parts)), np.float32)
        for number, part in enumerate(parts):
            vectors[number::world] = part
    scores = scoring.cosine_scores(vectors, ids, trials)
    labels = trials["label"].to_numpy()
    return Validation(
        protocol.evaluate(scores, labels, protocol_of(manifest, LIST), p_targets), calibration.fit(scores, labels)
    )
