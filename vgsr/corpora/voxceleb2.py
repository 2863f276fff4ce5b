"""VoxCeleb2 (Chung et al. 2018): interviews of 6,112 celebrities, none of whom is in VoxCeleb1.

Layout read: the recordings of `voxceleb_voices`, the pictures of `voxceleb_faces`, and vox2_meta.csv (see
`voxceleb_meta`) in ROOT, or meta=PATH, where there is one. As published, or converted to wav or flac:

    ROOT/dev/aac/id00012/21Uxsk56VDQ/00001.m4a
    ROOT/test/aac/id00017/01dfn2spqyE/00001.m4a
    ROOT/dev/jpg/id00012/21Uxsk56VDQ/0000100.jpg     frames of its videos; they are published as videos only

The set dev trains, with a validation share held out of it; the set test is the test split, with a list of ours: there
is no published one, and the field tests on VoxCeleb1. Who is in which set is said by the table, else by a folder called
dev or test; who is in neither trains.
"""

import re
from pathlib import Path

from vgsr.corpora import voxceleb_counts, voxceleb_faces, voxceleb_meta, voxceleb_voices
from vgsr.corpora.registry import Layout, corpus
from vgsr.corpora.rows import Face, Utterance, gather
from vgsr.corpora.voxceleb_meta import Person
from vgsr.data.manifest import Problem

META = "vox2_meta.csv"
TEST = re.compile(r"(^|[/_])test($|[/_])")
DEV = re.compile(r"(^|[/_])dev($|[/_])")

# Speakers and utterances of each set, as public recipes have them.
PUBLISHED = {"dev": (5_994, 1_092_009), "test": (118, 36_237)}


@corpus("voxceleb2", validation=0.02, test=0.0)
def voxceleb2(
    root: Path,
    *,
    meta: str | None = None,
    faces: str | None = None,
    faces_per_video: int = voxceleb_faces.PER_VIDEO,
) -> Layout:
    """Layout of VoxCeleb2; meta and faces name where the table and the pictures are if not in ROOT.

    CorpusError where there are no recordings.
    """
    voxceleb_faces.check(faces_per_video)
    problems: list[Problem] = []
    folders = voxceleb_voices.speakers(root, problems)
    table = voxceleb_meta.find(root, meta, META)
    people = voxceleb_meta.read(table) if table else {}
    sets = {speaker: _set(speaker, place, people) for speaker, place in folders.items()}
    unknown = [speaker for speaker, part in sets.items() if part is None]
    if unknown:
        reason = f"{len(unknown):,} speakers are in neither dev nor test, by their folders"
        problems.append(Problem(META, f"{reason} or by this table ({'there' if table else 'not there'}); they train"))
    named = voxceleb_faces.names(people, list(folders))
    above, people_at = voxceleb_faces.folders(root, faces)
    spoken = voxceleb_voices.seen_from(above, root, folders)
    pictures = (
        face
        for place in people_at
        for face in voxceleb_faces.faces(above, place, named, faces_per_video, problems, own_ids=above != root)
    )
    known = {speaker: part or "dev" for speaker, part in sets.items()}
    return Layout(
        above,
        gather(voxceleb_voices.utterances(above, spoken, problems), Utterance, problems),
        gather(pictures, Face, problems),
        problems,
        splits={speaker: "train" if part == "dev" else "test" for speaker, part in known.items()},
        published=voxceleb_counts.published("VoxCeleb2", PUBLISHED, known),
    )


def _set(speaker: str, place: str, people: dict[str, Person]) -> str | None:
    """dev or test, by the table, else by the folder; None where neither says."""
    if speaker in people:
        return people[speaker].set
    return "test" if TEST.search(place) else "dev" if DEV.search(place) else None
