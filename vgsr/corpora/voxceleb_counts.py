"""What is published of VoxCeleb's sets: speakers and utterances of dev and test in, counts to compare with out."""

from collections.abc import Mapping
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from vgsr.corpora.registry import Published, Rows, Trials
from vgsr.corpora.rows import values


def published(corpus: str, counts: Mapping[str, tuple[int, int]], sets: Mapping[str, str]) -> list[Published]:
    """Speakers and utterances of each set; `sets` says in which one a speaker is."""
    found = []
    for part, (speakers, utterances) in counts.items():
        names = pa.array([speaker for speaker, own in sets.items() if own == part], pa.string())
        found.append(Published(f"{corpus} {part} speakers", speakers, partial(_speakers, names=names)))
        found.append(Published(f"{corpus} {part} utterances", utterances, partial(_utterances, names=names)))
    return found


def _speakers(rows: Rows, trials: Trials, names: pa.Array) -> int:
    return len(_of(rows, names).unique())


def _utterances(rows: Rows, trials: Trials, names: pa.Array) -> int:
    return len(_of(rows, names))


def _of(rows: Rows, names: pa.Array) -> pa.ChunkedArray:
    spoken = values(rows, "speaker")
    return spoken.filter(pc.is_in(spoken, value_set=names))
