"""Speakers whom a system knows and who are in trials all the same: a figure from them would be worthless.

In: who was in a training set or a cohort, and trial lists of a manifest. Out: nothing, or a ManifestError that names
them. The rule (our definition) says who is one person by corpus and name alone:

- The corpora of `PUBLISHED` name their speakers for good, each in a way of its own: within one of them (VoxCeleb1 and 2
  are one) a name is a person, and between two of them never, whatever the names: CN-Celeb has ids like VoxCeleb's, and
  LibriSpeech has numbers like CREMA-D's.
- Any other corpus (a folder, a Kaldi directory) may hold anybody's recordings, so its names are those of whatever it is
  compared with, unless the user says that they are `namesakes`.
- A VoxCeleb id within a longer name (`vox1_id10001`, `id10001-1zcIwhmdeo4`) is that id.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vgsr.data.manifest import Manifest, ManifestError
from vgsr.evaluation.embedding import of_lists
from vgsr.evaluation.rows import some

PUBLISHED = {  # corpus: whose names its speakers have
    "voxceleb1": "VoxCeleb",
    "voxceleb2": "VoxCeleb",
    "cnceleb": "CN-Celeb",
    "librispeech": "LibriSpeech",
    "cremad": "CREMA-D",
    "ravdess": "RAVDESS",
    "avspeech": "AVSpeech",
}
ID = re.compile(r"(?<![A-Za-z0-9])id\d{5}(?![A-Za-z0-9])")  # of VoxCeleb


@dataclass(frozen=True)
class Known:
    """Speakers whom a system knows, of one corpus; whence: as a message says it, e.g. "the cohort"."""

    corpus: str
    speakers: Collection[str]
    whence: str


def refuse(known: Known, manifest: Manifest, lists: Sequence[str], namesakes: bool = False) -> None:
    """ManifestError when a trial of `lists` has, on either side, a speaker who is known.

    namesakes: people of the same name in this corpus and that of `known` are different people, as far as the names
    leave that open.
    """
    found = {name: shared(known, manifest, name, namesakes) for name in lists}
    if not any(found.values()):
        return
    said = "; ".join(f"{len(who):,} of trials {name!r}: {some(who)}" for name, who in found.items() if who)
    free = [name for name, who in found.items() if not who]
    hints = [f"test on {', '.join(free)} alone (--trials, evaluate.trials)"] if free else []
    if not {known.corpus, manifest.corpus} <= PUBLISHED.keys():
        hints.append(
            "if they are other people who happen to have the same names, say so with --namesakes (evaluate.namesakes)"
        )
    raise ManifestError(
        f"{manifest.place}: speakers of its trials were in {known.whence} ({known.corpus}), and figures from them "
        f"would be worthless: {said}" + "".join(f"\n{hint[0].upper()}{hint[1:]}" for hint in hints)
    )


def shared(known: Known, manifest: Manifest, name: str, namesakes: bool = False) -> list[str]:
    """The speakers of the trial list `name` who are known, sorted."""
    if not comparable(known.corpus, manifest.corpus, namesakes) or not known.speakers:
        return []
    keys = {key(speaker) for speaker in known.speakers}
    speakers = manifest.rows_of(of_lists(manifest, [name]), ["speaker"])["speaker"].unique().to_pylist()
    return sorted(speaker for speaker in speakers if key(speaker) in keys)


def comparable(corpus: str, other: str, namesakes: bool = False) -> bool:
    """Whether one name in two corpora is one person."""
    if corpus in PUBLISHED and other in PUBLISHED:
        return PUBLISHED[corpus] == PUBLISHED[other]
    return not namesakes


def key(speaker: str) -> str:
    """What of a speaker's name is compared."""
    found = ID.search(speaker)
    return found[0] if found else speaker
