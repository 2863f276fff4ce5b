"""A Kaldi data directory: anybody's recordings, listed in tables.

Tables read, one entry a line:

    ROOT/wav.scp       RECORDING PATH                  without segments: UTTERANCE PATH
    ROOT/utt2spk       UTTERANCE SPEAKER               or ROOT/spk2utt: SPEAKER UTTERANCE …
    ROOT/segments      UTTERANCE RECORDING START END   optional; in s, END -1 is the end of the recording
    ROOT/utt2sess      UTTERANCE SESSION               optional
    ROOT/trials        ENROL TEST target|nontarget     optional: the trial list `trials`; its speakers test
    ROOT/enroll.map    NAME UTTERANCE …                optional: whom `trials` enrols by the mean of several utterances

A path may hold blanks. One that is not absolute lies under ROOT, whereas Kaldi's own tools look for it where they are
started. Where a recording lies outside ROOT, the manifest's root is the folder above all of them. A command (`… |`) is
never run: it is a problem, as is every line that does not fit the others.
What a segment has past the end of its recording is cut off up to 0.5 s, as Kaldi's extract-segments does; a segment
with more of that is a problem. Without utt2sess an utterance's session is its recording. There are no faces.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from vgsr.corpora import trial_file
from vgsr.corpora.registry import CorpusError, Layout, Trials, corpus, standard_lists
from vgsr.corpora.rows import Rows, Utterance, gather, values
from vgsr.data import recordings
from vgsr.data.manifest import Problem

LIST = "trials"
FORMATS = {  # of a line of each table
    "wav.scp": "RECORDING PATH",
    "utt2spk": "UTTERANCE SPEAKER",
    "spk2utt": "SPEAKER UTTERANCE …",
    "segments": "UTTERANCE RECORDING START END",
    "utt2sess": "UTTERANCE SESSION",
    "enroll.map": "NAME UTTERANCE …",
}

Table = dict[str, tuple[int, list[str]]]  # first word of a line: its number, its other words


@corpus("kaldi", validation=0.1, test=0.1)
def kaldi(root: Path) -> Layout:
    """Layout of a Kaldi data directory; CorpusError without wav.scp or utt2spk, and where nothing is left of them."""
    if not (root / "wav.scp").is_file():
        raise CorpusError(f"{root}: no wav.scp in it; give a Kaldi data directory")
    problems: list[Problem] = []
    speakers = who_speaks(root, problems)
    sessions = read(root, "utt2sess", problems)
    parts = spoken(root, problems, speakers)
    above, uris = under_one_folder(root, {path for _, _, path, _, _ in parts})
    found = (
        Utterance(
            name, speakers[name], sessions[name][1][0] if name in sessions else recording, uris[path], start, seconds
        )
        for name, recording, path, start, seconds in parts
    )
    utterances = gather(found, Utterance, problems)
    if not utterances:
        first = f"; first: {problems[0].uri}: {problems[0].reason}" if problems else ""
        raise CorpusError(f"{root}: no utterance that can be used ({len(problems)} problems{first})")
    tests = find_tests(root, utterances, problems)
    return Layout(
        above,
        utterances,
        [],
        problems,
        lists=tests.lists,
        splits=dict.fromkeys(tests.speakers, "test"),
        enrolments=tests.enrolments,
    )


def under_one_folder(root: Path, paths: Iterable[str]) -> tuple[Path, dict[str, str]]:
    """The folder that holds the directory and all its recordings, and each path's uri under it.

    A manifest's recordings lie under one root; where a path leads out of the directory, that is a folder above both.
    """
    start = os.path.abspath(root)
    whole = {path: os.path.normpath(os.path.join(start, path)) for path in paths}
    above = os.path.commonpath([start, *(os.path.dirname(path) for path in whole.values())])
    return Path(above), {path: Path(os.path.relpath(place, above)).as_posix() for path, place in whole.items()}


def read(root: Path, name: str, problems: list[Problem]) -> Table:
    """A table of the directory, empty where it is not there; lines that are damaged or double become problems."""
    file, form = root / name, FORMATS[name].split()
    found: Table = {}
    for number, line in enumerate(file.read_bytes().splitlines() if file.is_file() else (), 1):
        try:
            words = line.decode().split(maxsplit=1 if name == "wav.scp" else -1)
        except UnicodeDecodeError:
            problems.append(Problem(f"{name}:{number}", "not UTF-8"))
            continue
        if words and (len(words) < len(form) - (form[-1] == "…") or (len(words) > len(form) and form[-1] != "…")):
            problems.append(Problem(f"{name}:{number}", f"{len(words)} words, not {FORMATS[name]}"))
        elif words and words[0] in found:
            problems.append(Problem(f"{name}:{number}", f"{words[0]} once more; line {found[words[0]][0]} is used"))
        elif words:
            found[words[0]] = number, words[1:]
    return found


def who_speaks(root: Path, problems: list[Problem]) -> dict[str, str]:
    """The speaker of each utterance, by utt2spk or, where that is missing, spk2utt."""
    if (root / "utt2spk").is_file():
        return {utterance: words[0] for utterance, (_, words) in read(root, "utt2spk", problems).items()}
    if not (root / "spk2utt").is_file():
        raise CorpusError(f"{root}: no utt2spk in it, nor spk2utt; one of them must say who speaks")
    speakers: dict[str, str] = {}
    for speaker, (number, names) in read(root, "spk2utt", problems).items():
        for name in names:
            if speakers.setdefault(name, speaker) != speaker:
                problems.append(Problem(f"spk2utt:{number}", f"{name} is of {speakers[name]} already, who is used"))
    return speakers


def spoken(root: Path, problems: list[Problem], speakers: dict[str, str]) -> list[tuple[str, str, str, float, float]]:
    """Utterances with speaker and recording: name, recording, its uri, start and length in s (0: to the end)."""
    places = {}
    for recording, (number, (path,)) in read(root, "wav.scp", problems).items():
        if recordings.JOINT in path:
            command = path.rstrip().endswith(recordings.JOINT)
            what = (
                "a command; commands are never run: list a file" if command else "its name has | in it; rename the file"
            )
            problems.append(Problem(f"wav.scp:{number}", what))
        elif "://" in path:
            problems.append(Problem(f"wav.scp:{number}", "not on this machine; copy it here, and list the file"))
        else:
            places[recording] = number, path.strip()
    cut = (root / "segments").is_file()
    rows: Table = (
        read(root, "segments", problems) if cut else {n: (line, [n, "0", "-1"]) for n, (line, _) in places.items()}
    )
    found, table = [], "segments" if cut else "wav.scp"
    for name, (number, (recording, *times)) in rows.items():
        wrong = ""
        try:
            start, end = map(float, times)
        except ValueError:
            start, end = 0.0, 0.0
        if not (0 <= start < end or (start >= 0 and end == -1)):
            wrong = f"from {times[0]} to {times[1]} s: not a start and a later end, in s"
        elif recording not in places:
            wrong = f"recording {recording} is not in wav.scp, or cannot be used"
        elif name not in speakers:
            wrong = f"utterance {name} has no speaker"
        if wrong:
            problems.append(Problem(f"{table}:{number}", wrong))
        else:
            found.append((name, recording, places[recording][1], start, end - start if end > 0 else 0.0))
    for name in sorted(speakers.keys() - rows.keys()):
        problems.append(Problem("utt2spk", f"utterance {name} is not in {table}, or cannot be used"))
    return found


@dataclass(frozen=True)
class Tests:
    """The directory's own trial list: its trials, its speakers, the utterances of names enrolled by several."""

    trials: pa.Table | None = None
    speakers: frozenset[str] = frozenset()
    enrolled: dict[str, list[str]] = field(default_factory=dict)

    def lists(self, utterances: Rows, seed: int) -> Trials:
        """The standard lists, of which the directory's own takes the place of `test`."""
        made = standard_lists(utterances, seed)
        return made if self.trials is None else {"validation": made["validation"], LIST: self.trials}

    def enrolments(self, utterances: Rows) -> dict[str, list[tuple[str, str]]]:
        """Who is enrolled by which utterances; nobody of whom one of these cannot be used."""
        known = set(values(utterances, "utterance_id").to_pylist())
        whole = {name: parts for name, parts in self.enrolled.items() if known.issuperset(parts)}
        return {LIST: [(name, part) for name, parts in whole.items() for part in parts]}


def find_tests(root: Path, utterances: Rows, problems: list[Problem]) -> Tests:
    """The trial list of the directory, if it has one; CorpusError when it is none."""
    if not (root / LIST).is_file():
        return Tests()
    trials = trial_file.read(root / LIST)
    names, speakers = (values(utterances, column).to_pylist() for column in ("utterance_id", "speaker"))
    speaker_of = dict(zip(names, speakers, strict=True))
    enrolled: dict[str, list[str]] = {}
    for name, (number, parts) in read(root, "enroll.map", problems).items():
        if name in speaker_of:
            problems.append(Problem(f"enroll.map:{number}", f"{name} is the name of an utterance too; not read"))
        elif len({speaker_of.get(part) for part in parts}) != 1:
            problems.append(Problem(f"enroll.map:{number}", f"{name}: not utterances of one speaker; not read"))
        else:
            enrolled[name] = list(dict.fromkeys(parts))
    asked = {name for side in ("enrol", "test") for name in pc.unique(trials[side]).to_pylist()}
    heard = {part for name in asked for part in enrolled.get(name, [name])}
    return Tests(trials, frozenset(speaker_of[part] for part in heard if part in speaker_of), enrolled)
