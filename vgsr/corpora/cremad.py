"""CREMA-D (Cao et al. 2014): 91 actors who speak twelve sentences in six emotions, filmed.

Layout read, as published with git-lfs:

    ROOT/AudioWAV/AAAA_SSS_EEE_LL.wav       actor, sentence, emotion, level: 1001_DFA_ANG_XX; 16 kHz
    ROOT/VideoFlash/AAAA_SSS_EEE_LL.flv     optional, or converted to ROOT/VideoMP4/*.mp4: frames of it are the faces

What else is there (AudioMP3, tables of ratings) is left alone. A session is a clip: its sound and its video.

Trial lists `validation` and `cremad` (our definition): pairs of different sentences, whichever the label and the
emotions, so the words do not tell the labels apart.
"""

import re
from pathlib import Path

from vgsr.corpora import filmed, trials
from vgsr.corpora.filmed import Film
from vgsr.corpora.registry import AUDIO, CorpusError, Layout, Published, Trials, corpus, visible
from vgsr.corpora.rows import Rows, Utterance, in_split, values
from vgsr.corpora.trials import Spoken
from vgsr.data.manifest import Problem, Trial
from vgsr.teachers.frames import VIDEO

SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")
EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
LEVELS = ("LO", "MD", "HI", "XX")
NAME = re.compile(rf"(10\d\d)_({'|'.join(SENTENCES)})_({'|'.join(EMOTIONS)})_({'|'.join(LEVELS)})")
FILMS = ("VideoFlash", "VideoMP4")  # the first that is there
SILENT = {"1076_MTI_SAD_XX": "no sound in it, as the corpus' own page says"}
PER_ACTOR = 100  # genuine trials of one actor

# The README of the corpus speaks of 7,442 clips of 91 actors; its folder AudioWAV has as many, the silent one included.
ACTORS, CLIPS = 91, 7_442


@corpus("cremad", validation=0.1, test=0.25)
def cremad(root: Path, *, frames: int = 1) -> Layout:
    """Layout of CREMA-D; frames: of a video, that are faces. CorpusError where there is no AudioWAV/*.wav."""
    if not (root / "AudioWAV").is_dir():
        raise CorpusError(f"{root}: no folder AudioWAV in it; give the folder that holds AudioWAV and VideoFlash")
    problems: list[Problem] = []
    spoken = clips(root, root / "AudioWAV", AUDIO, problems)
    if not spoken:
        raise CorpusError(f"{root / 'AudioWAV'}: no 1001_DFA_ANG_XX.wav and so on in it")
    refuse_pointers(spoken[0])
    utterances = [Utterance(path.stem, path.stem[:4], path.stem, uri(root, path)) for path in spoken]
    folder = next((root / name for name in FILMS if (root / name).is_dir()), None)
    seen = clips(root, folder, VIDEO, problems) if folder else []
    films = [Film(uri(root, path), path.stem[:4], path.stem) for path in seen]
    faces, unseen = filmed.faces(root, films, frames)
    return Layout(root, utterances, faces, [*problems, *unseen], lists=lists, published=published())


def clips(root: Path, folder: Path, kinds: tuple[str, ...], problems: list[Problem]) -> list[Path]:
    """The files of clips in a folder; what is not named as one becomes a problem."""
    found = []
    for path in visible(folder):
        if path.suffix.lower() not in kinds:
            problems.append(Problem(uri(root, path), f"not one of {', '.join(kinds)}"))
        elif not NAME.fullmatch(path.stem):
            problems.append(Problem(uri(root, path), "bad name: not actor_sentence_emotion_level, as 1001_DFA_ANG_XX"))
        elif path.stem in SILENT:
            problems.append(Problem(uri(root, path), SILENT[path.stem]))
        else:
            found.append(path)
    return found


def refuse_pointers(file: Path) -> None:
    """CorpusError when a file is what git-lfs puts in its place until it is fetched."""
    with file.open("rb") as opened:
        if opened.read(40).startswith(b"version https://git-lfs.github.com"):
            raise CorpusError(f"{file}: only a pointer to the recording; run `git lfs pull` in the corpus' folder")


def lists(utterances: Rows, seed: int) -> Trials:
    """The lists `validation` and `cremad`, each from the actors of its own split."""

    def among(split: str, name: str) -> list[Trial]:
        return trials.pairs(in_split(utterances, split), seed=seed, name=name, per_speaker=PER_ACTOR, allowed=differ)

    return {"validation": among("validation", "validation"), "cremad": among("test", "cremad")}


def differ(enrol: Spoken, test: Spoken) -> bool:
    """Another sentence."""
    return enrol.utterance_id[5:8] != test.utterance_id[5:8]


def published() -> list[Published]:
    """Actors, and clips with sound."""
    return [
        Published("actors", ACTORS, lambda utterances, _: len(values(utterances, "speaker").unique())),
        Published("clips with sound", CLIPS - len(SILENT), lambda utterances, _: len(utterances)),
    ]


def uri(root: Path, path: Path) -> str:
    """A file's place under the root."""
    return path.relative_to(root).as_posix()
