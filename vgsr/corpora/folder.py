"""Anyone's own recordings, in folders.

Layout read:

    ROOT/SPEAKER/SESSION/*.wav|flac   and pictures of the same recording   ROOT/SPEAKER/SESSION/*.jpg|jpeg|png
    ROOT/SPEAKER/*.wav|flac           without sessions: they form one session of their own, named SPEAKER/-
    ROOT/SPEAKER/*.jpg|jpeg|png       pictures of the speaker, in that same session

Ids are paths under ROOT. Folders deeper than a session and other kinds of files are listed as problems.
"""

from pathlib import Path

from vgsr.corpora.registry import AUDIO, IMAGES, CorpusError, Face, Layout, Utterance, corpus, visible
from vgsr.data.manifest import Problem


@corpus("folder", validation=0.1, test=0.1)
def folder(root: Path) -> Layout:
    """Layout of speaker folders; CorpusError when there is no audio in any."""
    utterances, faces, problems = [], [], []
    for speaker in visible(root):
        if not speaker.is_dir():
            problems.append(Problem(speaker.name, "lies in no speaker's folder; not read"))
            continue
        inside = visible(speaker)
        sessions = [(f"{speaker.name}/-", [path for path in inside if not path.is_dir()])]
        sessions += [(f"{speaker.name}/{path.name}", visible(path)) for path in inside if path.is_dir()]
        for session, paths in sessions:
            for path in paths:
                uri = path.relative_to(root).as_posix()
                if path.is_dir():
                    problems.append(Problem(uri, "folder deeper than SPEAKER/SESSION; not read"))
                elif path.suffix.lower() in AUDIO:
                    utterances.append(Utterance(uri, speaker.name, session, uri))
                elif path.suffix.lower() in IMAGES:
                    faces.append(Face(uri, speaker.name, session, uri))
                else:
                    kinds = ", ".join(AUDIO + IMAGES)
                    problems.append(Problem(uri, f"neither audio nor a picture that is read ({kinds})"))
    if not utterances:
        raise CorpusError(f"{root}: no SPEAKER/SESSION/*.wav or *.flac in it; give the folder of the speakers")
    return Layout(root, utterances, faces, problems)
