"""Embeddings of whole utterances: a student and a manifest in, one vector an utterance out.

Each utterance is embedded alone and whole, so no figure depends on padding, a crop, or what else is in a batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn

from vgsr.data import recordings
from vgsr.data.features import Fbank
from vgsr.data.manifest import Manifest

AHEAD = 1024  # utterances handed to the threads at once

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

    `disturb` may change an utterance's samples before they are embedded. On a CPU as many utterances are embedded at
    once as torch may use threads, each on one: the threads of one utterance mostly wait for each other, for minutes
    instead of seconds where the machine has other work too. No embedding depends on how many there are.

    ManifestError for ids that are not in the manifest, AudioError for a file that cannot be read.
    """
    table = manifest.rows_of(ids, ["utterance_id", "uri", "start", "seconds"])
    student.eval()

    def one(row: dict[str, Any]) -> np.ndarray:
        wave = recordings.read(manifest, row["uri"], row["start"], row["seconds"])
        return embed_wave(student, fbank, disturb(row["utterance_id"], wave), device)

    vectors = []
    with _single_threads() as threads, ThreadPoolExecutor(threads if device.type == "cpu" else 1) as pool:
        for first in range(0, len(table), AHEAD):
            try:
                for vector in pool.map(one, table.slice(first, AHEAD).to_pylist()):
                    vectors.append(vector)
                    advance()
            except BaseException:  # Ctrl-C too: the rest of them is not to be waited for
                pool.shutdown(cancel_futures=True)
                raise
    return np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)


@contextmanager
def _single_threads() -> Iterator[int]:
    """Torch with one thread an operation; yields how many it had."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def trial_utterances(trials: pa.Table, enrolled: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """The utterances of a trial list, each once, sorted; those behind a name of `enrolled` instead of the name."""
    both = pa.chunked_array([*trials["enrol"].chunks, *trials["test"].chunks], pa.string())
    behind = enrolled or {}
    return sorted({utterance for name in pc.unique(both).to_pylist() for utterance in behind.get(name, (name,))})


def of_lists(manifest: Manifest, lists: Sequence[str]) -> list[str]:
    """The utterances of trial lists of a manifest, each once, sorted; those behind an enrolled name instead of it."""
    each = (trial_utterances(manifest.named_trials(name), manifest.enrolled(name)) for name in lists)
    return sorted({utterance for own in each for utterance in own})
