"""A model under every condition: a student and drawn conditions in; a `Matrix` of equal error rates a trial list out.

Embeddings are kept as they are made, a share of utterances a file, named by the student's weights, the digest of the
conditions and the utterances: work that was stopped goes on where it was.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from vgsr.data.features import Fbank
from vgsr.data.manifest import Manifest
from vgsr.evaluation import embedding, metrics, protocol, scoring
from vgsr.evaluation.condition_file import Conditions
from vgsr.evaluation.conditions import Condition
from vgsr.evaluation.matrix import Matrix
from vgsr.storage import whole

FORMAT = 1  # of the kept embeddings; to be raised when the same weights give other embeddings
KEPT = 512  # utterances a file: what is lost at most when the work is stopped

Advance = Callable[[int, bool], None]  # utterances done just now, and whether they had been kept


class Model(Protocol):
    """What is tested: `vgsr.speaker.Speaker` is one."""

    @property
    def digest(self) -> str: ...  # of the weights
    @property
    def student(self) -> nn.Module: ...
    @property
    def fbank(self) -> Fbank: ...
    @property
    def device(self) -> torch.device: ...


def evaluate(
    model: Model,
    corpus: Manifest,
    conditions: Conditions,
    lists: Sequence[str],
    folder: Path,
    advance: Advance = lambda done, kept: None,
) -> dict[str, Matrix]:
    """Equal error rates on trial lists under every condition, by list; embeddings are kept in `folder`.

    Both sides of a trial are disturbed; scores are cosines without normalisation.
    """
    ids = embedding.of_lists(corpus, lists)
    words = f"{protocol.PLAIN}, both sides disturbed, conditions {conditions.digest[: protocol.SHOWN]}"
    found: dict[str, dict[Condition, float]] = {name: {} for name in lists}
    of_model = folder / model.digest[:16] / f"{conditions.digest[:16]}-{model.device.type}-{FORMAT}"
    for condition in conditions.all:
        vectors = embed(model, corpus, conditions, condition, ids, of_model / condition.name.replace(" ", "-"), advance)
        for name in lists:
            table = corpus.named_trials(name)
            scores = scoring.cosine_scores(vectors, ids, table, corpus.enrolled(name))
            found[name][condition] = metrics.eer(scores, table["label"].to_numpy()).value
    matrices = {}
    for name in lists:
        targets = int(corpus.named_trials(name)["label"].to_numpy().sum())
        lines = protocol.of_list(corpus, name, words)
        matrices[name] = Matrix(found[name], targets, lines.count - targets, lines)
    return matrices


def embed(
    model: Model,
    corpus: Manifest,
    conditions: Conditions,
    condition: Condition,
    ids: Sequence[str],
    folder: Path,
    advance: Advance = lambda done, kept: None,
) -> np.ndarray:
    """Embeddings [N, d] of the utterances `ids` [N] under one condition, from `folder` where they are kept there."""
    disturb, parts = conditions.disturbed(condition), []
    for first in range(0, len(ids), KEPT):
        wanted = ids[first : first + KEPT]
        file = folder / f"{hashlib.sha256(chr(0).join(wanted).encode()).hexdigest()[:16]}.npy"
        if file.is_file():
            parts.append(np.load(file, allow_pickle=False))
            advance(len(wanted), True)
            continue
        own = embedding.embed(
            model.student, model.fbank, corpus, wanted, model.device, lambda: advance(1, False), disturb
        )
        with whole.written(file) as staging:
            np.save(staging, own, allow_pickle=False)
        parts.append(own)
    return np.concatenate(parts)
