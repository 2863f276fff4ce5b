"""Pictures of VoxCeleb's speakers: folders of people in, faces out.

    FACES/PERSON/*.jpg                    pictures from anywhere, as VGGFace has them: of the person, of no session
    FACES/PERSON/1.6/VIDEO/*.jpg          frames of a video, as VoxCeleb1's unzippedFaces has them
    FACES/PERSON/VIDEO/*.jpg              frames of a video
    FACES/PERSON/VIDEO/NNNNN/*.jpg        frames of an utterance; they count as its video's

PERSON is a speaker's id, or its VGGFace name in the corpus' table. Where no folder is given, FACES is every one of
`NAMES` in the root, in its dev, and in its test.

Of each video only some frames are taken, evenly spread: unzippedFaces has one a second, 1.2 million of 22,496 videos,
and a second of an interview looks like the next. Five of a video keep what differs in it, poses and cuts, and leave
112,000 to embed; `faces_per_video=0` takes all. Pictures that are not frames are all taken.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vgsr.corpora.registry import IMAGES, CorpusError
from vgsr.corpora.rows import Face
from vgsr.corpora.voxceleb_meta import Person
from vgsr.corpora.voxceleb_voices import entries, uri
from vgsr.data.manifest import Problem

NAMES = ("unzippedFaces", "faces", "jpg", "vggface", "VGGFace", "vggface2", "VGGFace2")
SCALE = "1.6"  # of the crop around the face
STILL = "vggface"  # the session of pictures that are no frames: no video is called so
PER_VIDEO = 5


def folders(root: Path, given: str | None) -> tuple[Path, list[str]]:
    """The root of the manifest, and the folders of people under it: the one that was given, or those below the root.

    A manifest's files lie under one root; where the given folder lies outside the corpus', that is the one above both.
    """
    if given is None:
        places = [uri(part, name) for part in (".", "dev", "test") for name in NAMES]
        return root, [place for place in places if (root / place).is_dir()]
    folder, corpus = os.path.abspath(given), os.path.abspath(root)
    if not os.path.isdir(folder):
        raise CorpusError(f"{folder}: no such folder; faces=FOLDER names the one that holds a folder a person")
    above = Path(os.path.commonpath([folder, corpus]))
    return root if above == Path(corpus) else above, [Path(folder).relative_to(above).as_posix()]


def names(people: Mapping[str, Person], speakers: Sequence[str]) -> dict[str, str]:
    """The speaker for each name that a person's folder may have."""
    known = [people[speaker] for speaker in speakers if speaker in people]
    called = {person.face: person.speaker for person in known if person.face}
    # Some copies were unpacked where no name may end in a dot: Sammy_Davis_Jr.
    return {name.rstrip("."): speaker for name, speaker in called.items()} | called | {name: name for name in speakers}


def faces(
    root: Path, folder: str, people: Mapping[str, str], per_video: int, problems: list[Problem], own_ids: bool
) -> Iterator[Face]:
    """The pictures in a folder of people (`names`), `per_video` (0: all) of each video.

    A picture's id is its path under the root or, where `own_ids`, in the folder, wherever that lies.
    """
    start = len(folder) + 1 if own_ids and folder != "." else 0
    for person in entries(root, folder, problems):
        own = uri(folder, person.name)
        if not person.is_dir() or person.name not in people:
            problems.append(Problem(own, "not called like a speaker who has recordings; not read"))
            continue
        speaker, base = people[person.name], own
        inside = entries(root, own, problems)
        if [entry.name for entry in inside] == [SCALE]:
            base = uri(own, SCALE)
            inside = entries(root, base, problems)
        stills = [entry for entry in inside if not entry.is_dir()]
        for name in _pictures(base, stills, problems):
            yield Face(name[start:], speaker, STILL, name)
        for video in (entry for entry in inside if entry.is_dir()):
            for name in spread(_frames(root, uri(base, video.name), problems), per_video):
                yield Face(name[start:], speaker, video.name, name)


def spread(names: Sequence[str], count: int) -> Sequence[str]:
    """`count` of the names (0: all), each in the middle of an equal share of them."""
    if not count or len(names) <= count:
        return names
    return [names[(2 * place + 1) * len(names) // (2 * count)] for place in range(count)]


def check(per_video: int) -> None:
    """CorpusError unless the number of frames is one."""
    if not isinstance(per_video, int) or per_video < 0:
        raise CorpusError(f"faces_per_video={per_video}: a number of frames is needed, or 0 for all of them")


def _frames(root: Path, video: str, problems: list[Problem]) -> list[str]:
    """The pictures of a video, in their order."""
    inside = entries(root, video, problems)
    found = _pictures(video, [entry for entry in inside if not entry.is_dir()], problems)
    for utterance in (entry for entry in inside if entry.is_dir()):
        place = uri(video, utterance.name)
        found += _pictures(place, entries(root, place, problems), problems)
    return found


def _pictures(place: str, inside: Sequence[os.DirEntry[str]], problems: list[Problem]) -> list[str]:
    found = []
    for entry in inside:
        name = uri(place, entry.name)
        if os.path.splitext(entry.name)[1].lower() in IMAGES:
            found.append(name)
        else:
            problems.append(Problem(name, f"not a picture that is read ({', '.join(IMAGES)})"))
    return found
