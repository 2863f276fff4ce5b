"""What a corpus reader hands over, and the dict in which a name on the command line finds it.

In: nothing. Out: `Utterance`, `Face`, `Layout` (what lies in a folder), `corpus` (the decorator that
registers a reader) and `find`. A reader turns a published layout into a `Layout`; everything after that is
shared.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from vgsr.config import nearest
from vgsr.corpora import trials
from vgsr.corpora.rows import Face, Rows, in_split
from vgsr.corpora.rows import Utterance as Utterance
from vgsr.data import aac
from vgsr.data.manifest import Manifest, Problem, Trial
from vgsr.teachers.bank import Bank

AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".opus", *aac.SUFFIXES)  # what `vgsr.data.audio` reads
IMAGES = (".jpg", ".jpeg", ".png")
SHORTEST = 0.5  # s


class CorpusError(Exception):
    """A corpus that cannot be prepared; the text says what is wrong, where, and what to do."""


Trials = dict[str, list[Trial] | pa.Table]  # the columns of a table are label, enrol, test


def whole(utterances: Rows) -> Rows:
    """The utterances as they are: one file, one utterance."""
    return utterances


def standard_lists(utterances: Rows, seed: int) -> Trials:
    """Trial lists `validation` and `test`, each from the speakers of its own split."""
    return {split: trials.pairs(in_split(utterances, split), seed=seed, name=split) for split in ("validation", "test")}


def no_enrolments(utterances: Rows) -> dict[str, list[tuple[str, str]]]:
    """Every enrolment is one utterance."""
    return {}


@dataclass(frozen=True)
class Published:
    """A count that the corpus' authors publish, `what` it counts in words, and `of`, which counts it in what was found.

    `of` gets the recordings that can be read, before any cut, and the trial lists.
    """

    what: str
    count: int
    of: Callable[[Rows, Trials], int]


@dataclass(frozen=True)
class Layout:
    """What a reader found under `root`.

    splits: speakers whose split the corpus itself fixes; the validation share is drawn from those fixed to train and
    those not fixed. published: counts to be compared with. enrolments: of trial lists that enrol by several
    utterances, pairs (enrolled name, utterance). test_first: speakers that the test split takes before any other.
    cut: makes the final utterances of those scanned and split (say, halves). lists: the trial lists of the final
    utterances and a seed; one that names an utterance which cannot be used is left out. teach: makes the teacher bank
    from the finished manifest, for a corpus that brings its own teacher. shortest: s below which a recording is left
    out. A corpus of a million files hands its rows over as `rows.Columns`.
    """

    root: Path
    utterances: Rows
    faces: Sequence[Face]
    problems: Sequence[Problem] = ()
    test_first: frozenset[str] = frozenset()
    cut: Callable[[Rows], Rows] = whole
    lists: Callable[[Rows, int], Trials] = standard_lists
    teach: Callable[[Manifest], Bank] | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    enrolments: Callable[[Rows], dict[str, list[tuple[str, str]]]] = no_enrolments
    published: Sequence[Published] = ()
    shortest: float = SHORTEST


@dataclass(frozen=True)
class Corpus:
    """A registered reader. needs_root: it reads a folder; otherwise it makes the recordings itself.

    validation and test are the shares of speakers that are held out unless the caller says otherwise.
    """

    name: str
    reader: Callable[..., Layout]
    needs_root: bool
    validation: float
    test: float

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the reader's own keyword options (those of `prepare` apart)."""
        parameters = inspect.signature(self.reader).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "seed")


CORPORA: dict[str, Corpus] = {}

Reader = Callable[..., Layout]


def corpus(name: str, *, validation: float, test: float, needs_root: bool = True) -> Callable[[Reader], Reader]:
    """Register the decorated reader under `name`; the function itself is returned unchanged."""

    def register(reader: Reader) -> Reader:
        CORPORA[name] = Corpus(name, reader, needs_root, validation, test)
        return reader

    return register


def find(name: str) -> Corpus:
    """The reader called `name`; CorpusError names the nearest for an unknown one."""
    if name not in CORPORA:
        raise CorpusError(f"there is no corpus {name!r}{nearest(name, CORPORA)}")
    return CORPORA[name]


def visible(folder: Path) -> list[Path]:
    """What lies in `folder`, sorted by name, hidden files apart; CorpusError when it is not a folder."""
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder; give the folder that holds the corpus")
    return sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: p.name)
