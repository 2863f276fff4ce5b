"""LibriSpeech (Panayotov et al. 2015): readers of audio books, without faces.

Layouts read; a subset is one of `PUBLISHED`, a folder LibriSpeech/ around the subsets may be there or not:

    ROOT/SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac     as published, for every subset there is
    ROOT/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac            one subset, or a part of it
    ROOT/SPEAKER/SPEAKER-CHAPTER-UTTERANCE.flac                    the same, without chapters' folders

A session is a chapter: chapters were mostly recorded on different days. The texts and tables of the corpus are left
alone. The published subsets are about recognising words; who trains and who tests is drawn from all speakers found.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow.compute as pc

from vgsr.corpora.registry import AUDIO, CorpusError, Layout, Published, Trials, corpus, visible
from vgsr.corpora.rows import Rows, Utterance, gather, misnamed, values
from vgsr.data.manifest import Problem

NAME = re.compile(r"(\d+)-(\d+)-\d+")  # speaker, chapter, utterance
OTHERS = (".txt", ".tsv")  # transcripts, alignments, README.TXT, SPEAKERS.TXT …

PUBLISHED = {  # speakers (table 1 of the paper), utterances (OpenSLR 12)
    "dev-clean": (40, 2_703),
    "dev-other": (33, 2_864),
    "test-clean": (40, 2_620),
    "test-other": (33, 2_939),
    "train-clean-100": (251, 28_539),
    "train-clean-360": (921, 104_014),
    "train-other-500": (1_166, 148_688),
}


@corpus("librispeech", validation=0.1, test=0.1)
def librispeech(root: Path) -> Layout:
    """Layout of LibriSpeech's subsets, of one, or of a part; CorpusError when there is no SPEAKER/…/*.flac in it."""
    base = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
    problems: list[Problem] = []
    subsets = [base / name for name in PUBLISHED if (base / name).is_dir()]
    found = (u for folder in subsets or [base] for u in read(root, folder, problems))
    utterances = gather(found, Utterance, problems)
    if not utterances:
        raise CorpusError(
            f"{root}: no SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac in it; give the folder that holds the subsets "
            f"({', '.join(PUBLISHED)}) or the speakers"
        )
    whole = subsets or [folder for folder in [base] if folder.absolute().name in PUBLISHED]
    return Layout(
        root, utterances, [], problems, published=[count for folder in whole for count in counts(root, folder)]
    )


def read(root: Path, folder: Path, problems: list[Problem]) -> Iterator[Utterance]:
    """The utterances of the speakers in a folder; what is not named after its speaker becomes a problem."""
    for speaker in visible(folder):
        if not speaker.name.isdecimal() or not speaker.is_dir():
            if speaker.suffix.lower() not in OTHERS:
                problems.append(Problem(uri(root, speaker), "not the folder of a speaker, a number; not read"))
            continue
        inside = visible(speaker)
        chapters = [path for path in inside if path.is_dir()]
        for path in [*(p for p in inside if p not in chapters), *(p for chapter in chapters for p in visible(chapter))]:
            name = NAME.fullmatch(path.stem)
            if path.suffix.lower() in OTHERS:
                continue
            if path.suffix.lower() not in AUDIO:
                problems.append(Problem(uri(root, path), f"not audio ({', '.join(AUDIO)})"))
            elif name is None or name[1] != speaker.name or path.parent.name not in (name[1], name[2]):
                problems.append(
                    misnamed(uri(root, path), "bad name: not SPEAKER-CHAPTER-UTTERANCE of the folders it is in")
                )
            else:
                yield Utterance(path.stem, name[1], f"{name[1]}-{name[2]}", uri(root, path))


def counts(root: Path, subset: Path) -> list[Published]:
    """What is published of a subset."""
    speakers, utterances = PUBLISHED[subset.absolute().name]
    own = "" if subset == root else f"{uri(root, subset)}/"

    def count(rows: Rows, trials: Trials, what: str) -> int:
        return len(values(rows, what).filter(pc.starts_with(values(rows, "uri"), own)).unique())

    return [
        Published(f"{subset.absolute().name} speakers", speakers, partial(count, what="speaker")),
        Published(f"{subset.absolute().name} utterances", utterances, partial(count, what="utterance_id")),
    ]


def uri(root: Path, path: Path) -> str:
    """A path below the root, as problems and utterances name it."""
    return path.relative_to(root).as_posix()
