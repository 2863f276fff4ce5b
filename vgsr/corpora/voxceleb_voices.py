"""The recordings of VoxCeleb 1 and 2, however they were unpacked: a root in, speakers' folders and utterances out.

    ROOT/…/idNNNNN/VIDEO/NNNNN.wav      or .flac, .m4a

where … is nothing or any of wav, flac, aac, m4a, dev, test, vox1_dev_wav, vox2_test_aac and the like, one in another.
A million files are walked through one folder at a time.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from vgsr.corpora.registry import CorpusError
from vgsr.corpora.rows import Utterance
from vgsr.data.manifest import Problem

KINDS = (".wav", ".flac", ".m4a")
SPEAKER = re.compile(r"id\d{5}")
AROUND = re.compile(r"voxceleb[12]|(vox[12]_)?(dev|test)(_\w+)?|wav|flac|aac|m4a")
QUICKEST = ("wav", "flac", "aac", "m4a")  # to decode: of two folders of one speaker the first of these is read
BESIDE = (".txt",)  # frame numbers, which some copies hold beside the audio


def speakers(root: Path, problems: list[Problem]) -> dict[str, str]:
    """The folder below the root that holds each speaker's; CorpusError where there is no speaker.

    A speaker who is in several is read from one of them, which is a problem a folder, not a speaker.
    """
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; give the folder that holds the corpus")
    found: dict[str, str] = {}
    for place in sorted(_places(root, PurePosixPath()), key=_speed):
        inside = [entry.name for entry in entries(root, str(place), problems) if SPEAKER.fullmatch(entry.name)]
        twice = [name for name in inside if name in found]
        if twice:
            reason = f"{len(twice):,} speakers of it are also in {found[twice[0]]}, which is read"
            problems.append(Problem(str(place), reason))
        found |= {name: str(place) for name in inside if name not in found}
    if not found:
        raise CorpusError(
            f"{root}: no idNNNNN/VIDEO/NNNNN.wav (or .flac, .m4a) in it, nor in folders of it that are called wav, "
            "flac, aac, m4a, dev, test, vox1_dev_wav or the like; give the folder that holds those"
        )
    return dict(sorted(found.items()))


def seen_from(above: Path, root: Path, folders: Mapping[str, str]) -> dict[str, str]:
    """The same folders, named as they lie below a folder above the root."""
    step = Path(os.path.relpath(root, above)).as_posix()
    return {speaker: uri(step, place) or "." for speaker, place in folders.items()}


def utterances(root: Path, folders: Mapping[str, str], problems: list[Problem]) -> Iterator[Utterance]:
    """The utterances of speakers in their folders; a session is a video.

    Ids are the names in the published lists, which end in .wav whatever the files do.
    """
    for speaker, place in folders.items():
        folder = uri(place, speaker)
        for video in entries(root, folder, problems):
            if not video.is_dir():
                problems.append(Problem(uri(folder, video.name), "lies in no video's folder; not read"))
                continue
            for file in entries(root, uri(folder, video.name), problems):
                stem, ending = os.path.splitext(file.name)
                where = uri(folder, video.name, file.name)
                if ending.lower() in KINDS:
                    yield Utterance(f"{speaker}/{video.name}/{stem}.wav", speaker, video.name, where)
                elif ending.lower() not in BESIDE:
                    problems.append(Problem(where, f"not audio ({', '.join(KINDS)})"))


def entries(root: Path, folder: str, problems: list[Problem]) -> list[os.DirEntry[str]]:
    """What lies in a folder below the root, sorted by name, hidden files apart; none where it cannot be listed."""
    try:
        with os.scandir(os.path.join(root, folder)) as found:
            return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        problems.append(Problem(folder, f"cannot be listed ({error.strerror})"))
        return []


def uri(*names: str) -> str:
    """Names below the root as one path; `.` is the root."""
    return "/".join(name for name in names if name != ".")


def _places(root: Path, place: PurePosixPath) -> Iterator[PurePosixPath]:
    """The folders that hold speakers' folders."""
    speaker = False
    for entry in entries(root, str(place), []):
        if SPEAKER.fullmatch(entry.name):
            speaker = True
        elif AROUND.fullmatch(entry.name) and entry.is_dir():
            yield from _places(root, place / entry.name)
    if speaker:
        yield place


def _speed(place: PurePosixPath) -> tuple[int, str]:
    return QUICKEST.index(place.name) if place.name in QUICKEST else len(QUICKEST), str(place)
