"""Anyone's own recordings, in folders.

Layout read:

    ROOT/SPEAKER/SESSION/…/*.wav    and pictures of the same recording   ROOT/SPEAKER/SESSION/…/*.jpg|jpeg|png
    ROOT/SPEAKER/*.wav              without sessions: they form one session of their own, named SPEAKER/-
    ROOT/SPEAKER/*.jpg|jpeg|png     pictures of the speaker, in that same session

Recordings have any ending of `registry.AUDIO`. Folders deeper than a session belong to it. Ids are paths under ROOT.
Links are followed, those that lead back to a folder they lie in apart; other kinds of files are listed as problems.
"""

from collections.abc import Iterator
from pathlib import Path

from vgsr.corpora.registry import AUDIO, IMAGES, CorpusError, Layout, corpus, visible
from vgsr.corpora.rows import Face, Utterance, gather
from vgsr.data.manifest import Problem


@corpus("folder", validation=0.1, test=0.1)
def folder(root: Path) -> Layout:
    """Layout of speaker folders; CorpusError when there is no audio in any."""
    faces: list[Face] = []
    problems: list[Problem] = []
    utterances = gather(recordings(root, faces, problems), Utterance, problems)
    if not utterances:
        raise CorpusError(
            f"{root}: no SPEAKER/SESSION/*.wav in it (or {', '.join(AUDIO[1:])}); give the folder of the speakers"
        )
    return Layout(root, utterances, faces, problems)


def recordings(root: Path, faces: list[Face], problems: list[Problem]) -> Iterator[Utterance]:
    """The utterances of every speaker; their faces, and what is neither, join the lists."""
    for path in files(root, problems):
        uri = path.relative_to(root).as_posix()
        speaker, *deeper = uri.split("/")[:-1] or [""]
        session = f"{speaker}/{deeper[0] if deeper else '-'}"
        if not speaker:
            problems.append(Problem(uri, "lies in no speaker's folder; not read"))
        elif path.suffix.lower() in AUDIO:
            yield Utterance(uri, speaker, session, uri)
        elif path.suffix.lower() in IMAGES:
            faces.append(Face(uri, speaker, session, uri))
        else:
            kinds = ", ".join(AUDIO + IMAGES)
            problems.append(Problem(uri, f"neither audio nor a picture that is read ({kinds})"))


def files(root: Path, problems: list[Problem]) -> Iterator[Path]:
    """The files under a folder, however deep; folders that cannot be read, or never end, become problems."""

    def inside(place: Path, above: tuple[Path, ...]) -> Iterator[Path]:
        here = place.resolve()
        if here in above:
            problems.append(
                Problem(place.relative_to(root).as_posix(), "a link to a folder that it lies in; not followed")
            )
            return
        try:
            paths = visible(place)
        except OSError as error:
            problems.append(Problem(place.relative_to(root).as_posix(), f"folder cannot be read ({error.strerror})"))
            return
        for path in paths:
            if path.is_dir():
                yield from inside(path, (*above, here))
            else:
                yield path

    yield from inside(root, ())
