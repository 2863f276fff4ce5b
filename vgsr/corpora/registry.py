"""What a corpus reader hands over, and the dict in which a name on the command line finds it.

In: nothing. Out: `Utterance`, `Face`, `Layout` (what lies in a folder), `corpus` (the decorator that
registers a reader) and `find`. A reader turns a published layout into a `Layout`; everything after that is
shared.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vgsr.config import nearest
from vgsr.corpora import trials
from vgsr.data.manifest import Manifest, Problem, Trial
from vgsr.teachers.bank import Bank

AUDIO = (".wav", ".flac")
IMAGES = (".jpg", ".jpeg", ".png")


class CorpusError(Exception):
    """A corpus that cannot be prepared; the text says what is wrong, where, and what to do."""


@dataclass(frozen=True)
class Utterance:
    """One row of the manifest; a reader fills the first four, `scan` and `prepare` the rest.

    start and seconds are in s, sample_rate in Hz, speech_snr and speech_clipping in dB (see `vgsr.data.clipping`),
    speech_dnsmos from 1 to 5; the last three are None where they are not known.
    """

    utterance_id: str
    speaker: str
    session: str
    uri: str
    start: float = 0.0
    seconds: float = 0.0
    sample_rate: int = 0
    split: str = ""
    speech_snr: float | None = None
    speech_clipping: float | None = None
    speech_dnsmos: float | None = None


@dataclass(frozen=True)
class Face:
    """One picture of a speaker; the same session as an utterance means the same recording."""

    face_id: str
    speaker: str
    session: str
    uri: str


Rows = Sequence[Utterance]
Trials = dict[str, list[Trial]]


def whole(utterances: Rows) -> list[Utterance]:
    """The utterances as they are: one file, one utterance."""
    return list(utterances)


def standard_lists(utterances: Rows, seed: int) -> Trials:
    """Trial lists `validation` and `test`, each from the speakers of its own split."""
    return {
        split: trials.pairs([u for u in utterances if u.split == split], seed=seed, name=split)
        for split in ("validation", "test")
    }


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

    splits: speakers whose split the corpus itself fixes; shares are drawn from the others. published: counts to be
    compared with. enrolments: of trial lists that enrol by several utterances, pairs (enrolled name, utterance).
    test_first: speakers that the test split takes before any other. cut: makes the final utterances of
    those scanned and split (say, halves). lists: the trial lists of the final utterances and a seed. teach:
    makes the teacher bank from the finished manifest, for a corpus that brings its own teacher.
    """

    root: Path
    utterances: Rows
    faces: Sequence[Face]
    problems: Sequence[Problem] = ()
    test_first: frozenset[str] = frozenset()
    cut: Callable[[Rows], list[Utterance]] = whole
    lists: Callable[[Rows, int], Trials] = standard_lists
    teach: Callable[[Manifest], Bank] | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    enrolments: Callable[[Rows], dict[str, list[tuple[str, str]]]] = no_enrolments
    published: Sequence[Published] = ()


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
