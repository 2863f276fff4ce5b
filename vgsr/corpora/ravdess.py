"""RAVDESS (Livingstone & Russo 2018): 24 actors who speak two statements in eight emotions.

Layout read, as published (WAV, 48 kHz) or recoded to FLAC:

    ROOT/Actor_NN/03-01-EE-II-SS-RR-NN.wav     the seven `FIELDS`, two digits each
    ROOT/Actor_NN/face.png                     optional: one video frame of the actor

All 24 actors are test speakers unless shares say otherwise. Trial list `ravdess` (our definition): pairs
that differ in statement or repetition, whichever the label, as many nontargets as genuine trials, both from
every actor alike: neither the words nor the take tell the labels apart.
"""

import re
from pathlib import Path

from vgsr.corpora import trials
from vgsr.corpora.registry import (
    AUDIO,
    CorpusError,
    Face,
    Layout,
    Rows,
    Trials,
    Utterance,
    corpus,
    standard_lists,
    visible,
)
from vgsr.corpora.trials import Spoken
from vgsr.data.manifest import Problem

FIELDS = {  # name: highest value (the lowest is 1); the fields in their order in a file name
    "modality": 3,
    "vocal channel": 2,
    "emotion": 8,
    "intensity": 2,
    "statement": 2,
    "repetition": 2,
    "actor": 24,
}
PER_ACTOR = 100  # genuine trials of one actor


@corpus("ravdess", validation=0.0, test=1.0)
def ravdess(root: Path) -> Layout:
    """Layout of a RAVDESS folder; files with names that do not follow the corpus become problems."""
    actors = [folder for folder in visible(root) if re.fullmatch(r"Actor_\d\d", folder.name) and folder.is_dir()]
    if not actors:
        raise CorpusError(f"{root}: no folder Actor_NN in it; give the folder that holds Actor_01 to Actor_24")
    utterances, faces, problems = [], [], []
    for folder in actors:
        for path in visible(folder):
            uri = f"{folder.name}/{path.name}"
            if path.name == "face.png":
                faces.append(Face(uri, folder.name, "face", uri))
            elif path.suffix.lower() in AUDIO:
                wrong = what_is_wrong(path.stem, folder.name)
                if wrong:
                    problems.append(Problem(uri, wrong))
                else:
                    utterances.append(Utterance(path.stem, folder.name, path.stem, uri))
            else:
                problems.append(Problem(uri, f"neither face.png nor audio ({', '.join(AUDIO)})"))
    return Layout(root, utterances, faces, problems, lists=lists)


def what_is_wrong(stem: str, folder: str) -> str:
    """Why a file name (no suffix) is not that of an utterance of `folder`; empty when it is one."""
    if not re.fullmatch(r"\d\d(-\d\d){6}", stem):
        return "bad name: not seven two-digit fields (03-01-EE-II-SS-RR-NN)"
    values = dict(zip(FIELDS, map(int, stem.split("-")), strict=True))
    for name, value in values.items():
        if not 1 <= value <= FIELDS[name]:
            return f"bad name: {name} {value:02d} is not one of 01 to {FIELDS[name]:02d}"
    if values["modality"] != 3:
        return f"modality {values['modality']:02d} is video; only 03 (audio) is read"
    if values["vocal channel"] != 1:
        return "vocal channel 02 is song; only 01 (speech) is read"
    if folder != f"Actor_{values['actor']:02d}":
        return f"bad name: actor {values['actor']:02d} lies in folder {folder}"
    return ""


def lists(utterances: Rows, seed: int) -> Trials:
    """The list `ravdess` from the test actors, and `validation` where actors were held out for it."""
    validation = standard_lists([u for u in utterances if u.split == "validation"], seed)["validation"]
    tests = [u for u in utterances if u.split == "test"]
    rows = trials.pairs(tests, seed=seed, name="ravdess", per_speaker=PER_ACTOR, ratio=1.0, allowed=differ)
    return {"validation": validation, "ravdess": rows}


def differ(enrol: Spoken, test: Spoken) -> bool:
    """Another statement, or the same one in another repetition."""
    return enrol.utterance_id.split("-")[4:6] != test.utterance_id.split("-")[4:6]
