"""RAVDESS (Livingstone & Russo 2018): 24 actors who speak two statements in eight emotions, filmed.

Layout read, as published (WAV at 48 kHz, MP4) or recoded to FLAC, whichever way the archives were unpacked:

    ROOT/Actor_NN/03-01-EE-II-SS-RR-NN.wav     the seven `FIELDS`, two digits each
    ROOT/Actor_NN/01-01-EE-II-SS-RR-NN.mp4     optional: the same take filmed, with sound (01) or without (02)
    ROOT/Actor_NN/face.png                     optional: one video frame of the actor
    ROOT/Audio_Speech_Actors_01-24/Actor_NN/…  the same, archives in folders of their own
    ROOT/Video_Speech_Actor_NN/Actor_NN/…

A session is a take: its sound, and frames of its video as faces, of the one without sound where there is no other.

All 24 actors are test speakers unless shares say otherwise. Trial list `ravdess` (our definition): pairs
that differ in statement or repetition, whichever the label, as many nontargets as genuine trials, both from
every actor alike: neither the words nor the take tell the labels apart.
"""

import re
from collections.abc import Collection
from pathlib import Path

from vgsr.corpora import filmed, trials
from vgsr.corpora.filmed import Film
from vgsr.corpora.registry import AUDIO, CorpusError, Layout, Published, Trials, corpus, standard_lists, visible
from vgsr.corpora.rows import Face, Rows, Utterance, in_split, values
from vgsr.corpora.trials import Spoken
from vgsr.data.manifest import Problem
from vgsr.teachers.frames import VIDEO

FIELDS = {  # name: highest value (the lowest is 1); the fields in their order in a file name
    "modality": 3,
    "vocal channel": 2,
    "emotion": 8,
    "intensity": 2,
    "statement": 2,
    "repetition": 2,
    "actor": 24,
}
SOUND = (3,)  # modalities
FILM = (1, 2)
ARCHIVE = re.compile(r"(audio|video)_(speech|song)_actors?_[\d-]+", re.IGNORECASE)
PER_ACTOR = 100  # genuine trials of one actor

# The corpus' page (zenodo.org/records/1188976): "60 trials per actor x 24 actors = 1440" files of spoken audio.
ACTORS, SPOKEN = 24, 1_440


@corpus("ravdess", validation=0.0, test=1.0)
def ravdess(root: Path, *, frames: int = 1) -> Layout:
    """Layout of a RAVDESS folder; files with names that do not follow the corpus become problems.

    frames: of a video, that are faces. CorpusError where there is no Actor_NN.
    """
    problems: list[Problem] = []
    utterances, faces = [], []
    films: dict[str, Film] = {}  # by session; what comes first stays: 01 before 02
    for folder in actors(root, problems):
        for path in visible(folder):
            uri, kind = path.relative_to(root).as_posix(), path.suffix.lower()
            filming = kind in VIDEO
            if path.name == "face.png":
                faces.append(Face(uri, folder.name, "face", uri))
            elif kind not in AUDIO and not filming:
                problems.append(Problem(uri, f"neither face.png nor audio or video ({', '.join((*AUDIO, *VIDEO))})"))
            elif wrong := what_is_wrong(path.stem, folder.name, FILM if filming else SOUND):
                problems.append(Problem(uri, wrong))
            elif filming:
                take = f"03{path.stem[2:]}"
                films.setdefault(take, Film(uri, folder.name, take))
            else:
                utterances.append(Utterance(path.stem, folder.name, path.stem, uri))
    seen, unseen = filmed.faces(root, list(films.values()), frames)
    return Layout(root, utterances, [*faces, *seen], [*problems, *unseen], lists=lists, published=published())


def actors(root: Path, problems: list[Problem]) -> list[Path]:
    """The folders Actor_NN under the root, or in those of the archives; CorpusError when there are none."""
    found = []
    for path in visible(root):
        archive = ARCHIVE.fullmatch(path.name)
        if archive and archive[2].lower() == "song":
            problems.append(Problem(path.name, "song; only speech is read"))
        elif path.is_dir():
            found += [folder for folder in (visible(path) if archive else [path]) if folder.is_dir()]
    found = [folder for folder in found if re.fullmatch(r"Actor_\d\d", folder.name)]
    if not found:
        raise CorpusError(f"{root}: no folder Actor_NN in it; give the folder that holds Actor_01 to Actor_24")
    return found


def what_is_wrong(stem: str, folder: str, modalities: Collection[int] = SOUND) -> str:
    """Why a file name (no suffix) is not that of an utterance of `folder`, or a video; empty when it is one."""
    if not re.fullmatch(r"\d\d(-\d\d){6}", stem):
        return "bad name: not seven two-digit fields (03-01-EE-II-SS-RR-NN)"
    fields = dict(zip(FIELDS, map(int, stem.split("-")), strict=True))
    for name, value in fields.items():
        if not 1 <= value <= FIELDS[name]:
            return f"bad name: {name} {value:02d} is not one of 01 to {FIELDS[name]:02d}"
    if fields["modality"] not in modalities:
        told = "is video; 03 is audio" if modalities == SOUND else "is audio; 01 and 02 are video"
        return f"bad name: modality {fields['modality']:02d} {told}"
    if fields["vocal channel"] != 1:
        return "vocal channel 02 is song; only 01 (speech) is read"
    if folder != f"Actor_{fields['actor']:02d}":
        return f"bad name: actor {fields['actor']:02d} lies in folder {folder}"
    return ""


def lists(utterances: Rows, seed: int) -> Trials:
    """The list `ravdess` from the test actors, and `validation` where actors were held out for it."""
    validation, tests = (in_split(utterances, split) for split in ("validation", "test"))
    rows = trials.pairs(tests, seed=seed, name="ravdess", per_speaker=PER_ACTOR, ratio=1.0, allowed=differ)
    return {"validation": standard_lists(validation, seed)["validation"], "ravdess": rows}


def differ(enrol: Spoken, test: Spoken) -> bool:
    """Another statement, or the same one in another repetition."""
    return enrol.utterance_id.split("-")[4:6] != test.utterance_id.split("-")[4:6]


def published() -> list[Published]:
    """Actors and spoken audio files."""
    return [
        Published("actors", ACTORS, lambda utterances, _: len(values(utterances, "speaker").unique())),
        Published("speech recordings", SPOKEN, lambda utterances, _: len(utterances)),
    ]
