"""VoxCeleb1 (Nagrani et al. 2017): interviews of 1,251 celebrities, whose faces are in VGGFace and in unzippedFaces.

Layout read: the recordings of `voxceleb_voices`, the pictures of `voxceleb_faces`, the trial lists of
`voxceleb_trials`, and vox1_meta.csv (see `voxceleb_meta`) in ROOT, or meta=PATH. As published:

    ROOT/vox1_meta.csv   ROOT/veri_test2.txt
    ROOT/wav/id10001/1zcIwhmdeo4/00001.wav           or dev/wav, test/wav, vox1_dev_wav/wav, …
    ROOT/unzippedFaces/A.J._Buckley/1.6/1zcIwhmdeo4/0000375.jpg

purpose=train: the set dev trains, with a validation share held out of it, and the set test is the test split, with the
lists O. purpose=test: everybody is in the test split, with the lists O, E and H, for models that were trained on other
corpora, say on VoxCeleb2. E and H are left out of the former, because their speakers train.
"""

from functools import partial
from pathlib import Path

import pyarrow as pa

from vgsr.config import nearest
from vgsr.corpora import voxceleb_counts, voxceleb_faces, voxceleb_meta, voxceleb_trials, voxceleb_voices
from vgsr.corpora.registry import CorpusError, Layout, Rows, Trials, corpus, standard_lists
from vgsr.corpora.rows import Face, Utterance, gather
from vgsr.corpora.voxceleb_trials import CLEANED, LISTS, O
from vgsr.data.manifest import Problem

META = "vox1_meta.csv"
PURPOSES = ("train", "test")

# Speakers and utterances of each set, as PaddleSpeech's examples/voxceleb/README.md has them.
PUBLISHED = {"dev": (1_211, 148_642), "test": (40, 4_874)}


@corpus("voxceleb1", validation=0.02, test=0.0)
def voxceleb1(
    root: Path,
    *,
    purpose: str = "train",
    meta: str | None = None,
    faces: str | None = None,
    faces_per_video: int = voxceleb_faces.PER_VIDEO,
    trials: str | None = None,
) -> Layout:
    """Layout of VoxCeleb1; meta, faces and trials name where the table, the pictures and the lists are if not in ROOT.

    CorpusError where there are no recordings or no table, and on a purpose that is none.
    """
    if purpose not in PURPOSES:
        raise CorpusError(f"purpose={purpose}: use one of {', '.join(PURPOSES)}{nearest(str(purpose), PURPOSES)}")
    voxceleb_faces.check(faces_per_video)
    problems: list[Problem] = []
    folders = voxceleb_voices.speakers(root, problems)
    table = voxceleb_meta.find(root, meta, META)
    if table is None:
        raise CorpusError(
            f"{root / META}: no such file; it says who is in dev and who in test. Put it there or name it with "
            f"meta=PATH; it is published at {voxceleb_meta.PUBLISHED_AT}/meta/{META}"
        )
    people = voxceleb_meta.read(table)
    for speaker in [name for name in folders if name not in people]:
        place = voxceleb_voices.uri(folders.pop(speaker), speaker)
        problems.append(Problem(place, f"{META} does not name this speaker; not read"))
    sets = {speaker: people[speaker].set for speaker in folders}
    named = voxceleb_faces.names(people, list(folders))
    above, people_at = voxceleb_faces.folders(root, faces)
    spoken = voxceleb_voices.seen_from(above, root, folders)
    pictures = (
        face
        for place in people_at
        for face in voxceleb_faces.faces(above, place, named, faces_per_video, problems, own_ids=above != root)
    )
    listed = voxceleb_trials.folder(root, trials)
    made = voxceleb_trials.read(listed, _lists_for(purpose), problems)
    problems += _left_out(listed, purpose)
    return Layout(
        above,
        gather(voxceleb_voices.utterances(above, spoken, problems), Utterance, problems),
        gather(pictures, Face, problems),
        problems,
        splits={name: "train" if part == "dev" and purpose == "train" else "test" for name, part in sets.items()},
        lists=partial(lists, made),
        published=[
            *voxceleb_counts.published("VoxCeleb1", PUBLISHED, sets),
            *(count for name in made or [O + CLEANED] for count in voxceleb_trials.published(name)),
        ],
    )


def lists(made: dict[str, pa.Table], utterances: Rows, seed: int) -> Trials:
    """`validation`, and the published lists; where none of those is there, our own `test`."""
    standard = standard_lists(utterances, seed)
    return {"validation": standard["validation"], **(made or {"test": standard["test"]})}


def _lists_for(purpose: str) -> list[str]:
    return [name for name in LISTS if purpose == "test" or name in (O, O + CLEANED)]


def _left_out(place: Path, purpose: str) -> list[Problem]:
    """What is to be said of lists that are there and not read, or not there."""
    there = [name for name in LISTS if voxceleb_trials.find(place, name)]
    wanted = _lists_for(purpose)
    problems = [
        Problem(LISTS[name].file, f"{name}: its speakers train here; `vgsr prepare voxceleb1 … purpose=test` takes it")
        for name in there
        if name not in wanted
    ]
    if not set(there) & set(wanted):
        files = ", ".join(LISTS[name].file for name in wanted)
        reason = (
            f"no trial list is there ({files}, also .gz); a list of ours is made, whose figures compare with no other"
        )
        problems.append(Problem(str(place), reason))
    return problems
