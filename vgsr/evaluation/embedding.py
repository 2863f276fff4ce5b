"""Embeddings of whole utterances: a student and a manifest in, one vector an utterance out.

Each utterance is embedded alone and whole, so no figure depends on padding, a crop, or what else is in a batch.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn

from vgsr.data import audio
from vgsr.data.features import Fbank
from vgsr.data.manifest import Manifest, ManifestError

Disturb = Callable[[str, np.ndarray], np.ndarray]  # utterance id and its samples [T] → samples [T]


def as_recorded(utterance: str, wave: np.ndarray) -> np.ndarray:
    """The samples as they are."""
    return wave


def embed_wave(student: nn.Module, fbank: Fbank, wave: np.ndarray, device: torch.device) -> np.ndarray:
    """Samples `[T]` at 16 kHz → embedding `[d]` float32 (not normalised). `student` must be in eval mode."""
    with torch.inference_mode():
        features = fbank(torch.from_numpy(wave).to(device).unsqueeze(0))
        return student(features)[0].float().cpu().numpy()


def embed(
    student: nn.Module,
    fbank: Fbank,
    manifest: Manifest,
    ids: Sequence[str],
    device: torch.device,
    advance: Callable[[], None] = lambda: None,
    disturb: Disturb = as_recorded,
) -> np.ndarray:
    """Embeddings `[len(ids), d]` of the utterances `ids`, in their order; `advance` is called after each.

    `disturb` may change an utterance's samples before they are embedded.

    ManifestError for ids that are not in the manifest, AudioError for a file that cannot be read.
    """
    rows = pc.index_in(pa.array(ids, pa.string()), value_set=manifest.utterances["utterance_id"].combine_chunks())
    if rows.null_count:
        raise ManifestError(f"{manifest.path}: {rows.null_count} of {len(ids)} utterances are not in the manifest")
    table = manifest.utterances.select(["utterance_id", "uri", "start", "seconds"]).take(rows)
    student.eval()
    vectors = []
    for row in table.to_pylist():
        wave = audio.read(manifest.file(row["uri"]), row["start"], row["seconds"])
        vectors.append(embed_wave(student, fbank, disturb(row["utterance_id"], wave), device))
        advance()
    return np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)


def trial_utterances(trials: pa.Table, enrolled: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """The utterances of a trial list, each once, sorted; those behind a name of `enrolled` instead of the name."""
    both = pa.chunked_array([*trials["enrol"].chunks, *trials["test"].chunks], pa.string())
    behind = enrolled or {}
    return sorted({utterance for name in pc.unique(both).to_pylist() for utterance in behind.get(name, (name,))})
