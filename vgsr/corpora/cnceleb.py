"""CN-Celeb 1 and 2 (Fan et al. 2020; Li et al. 2022): Chinese celebrities in eleven genres, without faces.

Layout read, as published in FLAC (`_flac`), or as its older release or a conversion in WAV (`_wav`, or no ending):

    ROOT/CN-Celeb_flac/data/idNNNNN/GENRE-SESSION-UTTERANCE.flac
    ROOT/CN-Celeb_flac/dev/dev.lst               who trains, a speaker a line
    ROOT/CN-Celeb_flac/eval/…                    the evaluation, see `cnceleb_eval`
    ROOT/CN-Celeb2_flac/data/idNNNNN/GENRE-SESSION-UTTERANCE.flac
    ROOT/CN-Celeb2_flac/spk.lst                  who trains (everybody), a speaker a line

Either of the two may be missing, or be ROOT itself. Instead of dev.lst or spk.lst there may be a `spk2utt` (a speaker
and the utterances that are used, a line); without any of these, all speakers below id00800 train, and all of CN-Celeb2.
The validation share is held out of those who train; the speakers of the evaluation are the test split.

Utterances of training and validation are joined to at least `join` s (see `joining`; 0: not), those of the evaluation
never. Ids are the names in the published lists, which end in .wav whatever the files do.
"""

import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from vgsr.corpora import cnceleb_eval
from vgsr.corpora.joining import join as joined
from vgsr.corpora.registry import AUDIO, CorpusError, Layout, Published, Trials, corpus, visible
from vgsr.corpora.rows import Rows, Utterance, gather, in_split, misnamed, values
from vgsr.data.manifest import Problem

ONE, TWO = "CN-Celeb", "CN-Celeb2"
LABELS = {ONE: "CN-Celeb1", TWO: "CN-Celeb2"}  # what people call them
WHO_TRAINS = {ONE: ("dev/dev.lst", "dev/spk2utt", "spk2utt"), TWO: ("spk.lst", "spk2utt")}  # the first that is there
EVALUATION = "id00800"  # the first speaker of the evaluation, as in WeSpeaker's comb_cn1_cn2.sh
SECOND = "id10000"  # the first speaker of CN-Celeb2
JOIN = 5.0  # s, as there
SHORTEST = 0.1  # s: short utterances are joined, and a list without its short tests would be another list
SPEAKER = re.compile(r"id\d{5}")
NAME = re.compile(r"([a-z_]+-\d+)-\d+")  # genre, session; utterance

# What the archives cn-celeb_v2 and cn-celeb2_v2 of OpenSLR 82 hold. Two users counted CN-Celeb1: 997 speakers with
# 126,532 utterances in data, of which dev.lst names 797 with 107,953. WeSpeaker's recipe trains on 2,793 speakers; that
# leaves 1,996 for CN-Celeb2, of whose utterances no sure count was found, and none is compared. The papers (arXiv
# 1911.01799, 2012.12468) speak of 1,000 and 2,000 speakers, those of the first release.
SPEAKERS = {ONE: 797, TWO: 1996}
UTTERANCES = {ONE: 107_953}


@corpus("cnceleb", validation=0.02, test=0.0)
def cnceleb(root: Path, *, join: float = JOIN, enrolment: str = "both") -> Layout:
    """Layout of CN-Celeb 1, 2 or both. enrolment: average, concat or both, the lists of the evaluation that are made.

    CorpusError where there is neither, on another enrolment, and on a join below 0.
    """
    if not join >= 0:
        raise CorpusError(f"join={join:g}: must be the shortest training recording in s, or 0 to join none")
    problems: list[Problem] = []
    folders = releases(root, problems)
    training = (u for name, folder in folders.items() for u in who_trains(root, name, folder, problems))
    evaluation = cnceleb_eval.find(root, folders.get(ONE), enrolment, problems)
    utterances = gather(chain(training, evaluation.utterances), Utterance, problems)
    if not utterances:
        raise CorpusError(f"{root}: no data/idNNNNN/GENRE-SESSION-UTTERANCE.flac (or .wav) in {', '.join(folders)}")

    def cut(utterances: Rows) -> Rows:
        others = (in_split(utterances, split) for split in ("train", "validation"))
        final = chain(*(joined(rows, join) if join else rows for rows in others))
        return gather(chain(final, evaluation.cut(in_split(utterances, "test"))), Utterance, [])

    return Layout(
        root,
        utterances,
        [],
        problems,
        cut=cut,
        lists=evaluation.lists,
        splits=dict.fromkeys((u.speaker for u in evaluation.utterances), "test"),
        enrolments=evaluation.enrolments,
        published=[*counts(folders), *evaluation.published()],
        shortest=SHORTEST,
    )


def releases(root: Path, problems: list[Problem]) -> dict[str, Path]:
    """The folders of CN-Celeb1 and CN-Celeb2 under a root, which may be one of them itself."""
    inside = visible(root)
    if any(path.name == "data" for path in inside):
        names = {path.name for path in inside}
        return {ONE if names & {"dev", "eval"} else TWO: root}
    found: dict[str, Path] = {}
    for path in inside:
        name = re.fullmatch(r"(CN-Celeb2?)(_\w+)?", path.name)
        if name and (path / "data").is_dir():
            kept = found.setdefault(name[1], path)
            if kept is not path:
                problems.append(Problem(path.name, f"{LABELS[name[1]]} once more; {kept.name} is read"))
    if not found:
        raise CorpusError(f"{root}: neither CN-Celeb_flac/data nor CN-Celeb2_flac/data in it; give the folder of those")
    return dict(sorted(found.items()))


def who_trains(root: Path, name: str, folder: Path, problems: list[Problem]) -> Iterator[Utterance]:
    """The training utterances of one release."""
    file = next((folder / file for file in WHO_TRAINS[name] if (folder / file).is_file()), None)
    listed = listing(file) if file else {}
    for place in visible(folder / "data"):
        speaker, uri = place.name, place.relative_to(root).as_posix()
        used = listed.pop(speaker, None) if file else frozenset[str]()
        if not SPEAKER.fullmatch(speaker) or not place.is_dir():
            problems.append(Problem(uri, "not the folder of a speaker, idNNNNN; not read"))
        elif name == ONE and speaker >= EVALUATION:
            continue  # what the evaluation's lists name of them is read there
        elif used is None:
            problems.append(
                Problem(uri, f"{file.relative_to(root) if file else name} does not name this speaker; not read")
            )
        else:
            yield from spoken(root, place, used, problems)
    problems += [Problem(str(file.relative_to(root)), f"speaker {speaker} has no folder") for speaker in listed if file]


def listing(file: Path) -> dict[str, frozenset[str]]:
    """Speakers that a list names, and the utterances of each that it names; none: all are used."""
    lines = [line.split() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
    return {
        speaker: frozenset(Path(word).stem.removeprefix(f"{speaker}-") for word in words)
        for speaker, *words in filter(None, lines)
    }


def spoken(root: Path, place: Path, used: frozenset[str], problems: list[Problem]) -> Iterator[Utterance]:
    """The utterances in a speaker's folder, those in `used` or all."""
    for path in visible(place):
        uri, name = path.relative_to(root).as_posix(), NAME.fullmatch(path.stem)
        if path.suffix.lower() not in AUDIO:
            problems.append(Problem(uri, f"not audio ({', '.join(AUDIO)})"))
        elif name is None:
            problems.append(misnamed(uri, "bad name: not GENRE-SESSION-UTTERANCE, say singing-01-001"))
        elif not used or path.stem in used:
            yield Utterance(f"{place.name}/{path.stem}.wav", place.name, f"{place.name}/{name[1]}", uri)


def counts(folders: dict[str, Path]) -> list[Published]:
    """What is certain of the training recordings of each release that is there."""

    def speakers(rows: Rows, trials: Trials, name: str) -> int:
        return sum(trains(name, speaker) for speaker in values(rows, "speaker").unique().to_pylist())

    def utterances(rows: Rows, trials: Trials, name: str) -> int:
        return sum(trains(name, speaker) for speaker in values(rows, "speaker").to_pylist())

    published = ((SPEAKERS, "training speakers", speakers), (UTTERANCES, "training utterances", utterances))
    return [
        Published(f"{LABELS[name]} {what}", count[name], partial(of, name=name))
        for name in folders
        for count, what, of in published
        if name in count
    ]


def trains(name: str, speaker: str) -> bool:
    """Whether a speaker is among those of a release who train."""
    return speaker < EVALUATION if name == ONE else speaker >= SECOND
