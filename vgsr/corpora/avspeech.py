"""AVSpeech excerpts (Ephrat et al. 2018): in-the-wild clips of one talker each, with a frame of the face.

Layout read:

    ROOT/clips.csv      columns youtube_id, start, audio, face (others are ignored); paths lie under ROOT

The video's id stands for the identity. Videos with several clips are test speakers before others. Clips of
held-out speakers are cut in halves, so that each gives a genuine trial. Test lists (our definition):
`halves`, the two halves of a clip against halves of other videos; `clips`, two clips of one video against
clips of other such videos.
"""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

from vgsr.corpora import trials
from vgsr.corpora.registry import CorpusError, Face, Layout, Rows, Trials, Utterance, corpus
from vgsr.data.manifest import Problem

COLUMNS = ("youtube_id", "start", "audio", "face")
SHORTEST_HALF = 0.5  # s
RATIO = 10.0  # nontargets for one genuine trial: a video gives only one or two of those


@corpus("avspeech", validation=0.11, test=0.12)
def avspeech(root: Path) -> Layout:
    """Layout of a folder with clips.csv; CorpusError when that is missing or lacks a column."""
    table = root / "clips.csv"
    if not table.is_file():
        raise CorpusError(f"{table}: no such file; give the folder that holds clips.csv")
    # Bytes that are not UTF-8 are kept as file names keep them, so that such a name costs its own line alone.
    with table.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        try:
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            rows = [(reader.line_num, row) for row in reader]
        except csv.Error as error:
            raise CorpusError(f"{table}: line {reader.line_num} is not CSV ({error})") from error
    if missing:
        have = ", ".join(reader.fieldnames or ()) or "none"
        raise CorpusError(f"{table}: no column {', '.join(missing)} (it has: {have})")
    utterances, faces, problems = [], {}, []
    for line, row in rows:
        video, clip, face = (row[name] or "" for name in ("youtube_id", "audio", "face"))
        if not video or not clip:
            problems.append(Problem(f"clips.csv:{line}", "no youtube_id or no audio in this line"))
            continue
        session = Path(clip).stem
        utterances.append(Utterance(session, video, session, clip))
        if face:
            faces[face] = Face(face, video, session, face)
        else:
            problems.append(Problem(f"clips.csv:{line}", "no face in this line; its utterance has none"))
    clips = Counter(u.speaker for u in utterances)
    several = frozenset(video for video, count in clips.items() if count > 1)
    return Layout(root, utterances, list(faces.values()), problems, several, cut, lists)


def cut(utterances: Rows) -> list[Utterance]:
    """Held-out clips become halves `ID#1`, `ID#2`; test clips of videos with several stay whole as well."""
    clips = Counter(u.speaker for u in utterances)
    result = []
    for utterance in utterances:
        half = utterance.seconds / 2
        halved = utterance.split != "train" and half >= SHORTEST_HALF
        if halved:
            for number in (1, 2):
                name, start = f"{utterance.utterance_id}#{number}", half * (number - 1)
                result.append(replace(utterance, utterance_id=name, start=start, seconds=half))
        if not halved or (utterance.split == "test" and clips[utterance.speaker] > 1):
            result.append(utterance)
    return result


def lists(utterances: Rows, seed: int) -> Trials:
    """`validation` and `halves` of the halves, `clips` of whole clips of test videos that have several."""
    halves = [u for u in utterances if "#" in u.utterance_id]
    held_out = [u for u in utterances if u.split == "test" and "#" not in u.utterance_id]
    clips = Counter(u.speaker for u in held_out)

    def within(split: str, name: str) -> list[tuple[int, str, str]]:
        own = [u for u in halves if u.split == split]
        return trials.pairs(own, seed=seed, name=name, ratio=RATIO, across=False)

    several = [u for u in held_out if clips[u.speaker] > 1]
    return {
        "validation": within("validation", "validation"),
        "halves": within("test", "halves"),
        "clips": trials.pairs(several, seed=seed, name="clips", ratio=RATIO),
    }
