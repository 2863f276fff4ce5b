"""The evaluation of CN-Celeb1: its published lists in, recordings, trials and enrolments out.

Layout read, under the folder of CN-Celeb1:

    eval/test/idNNNNN-GENRE-SESSION-UTTERANCE.flac
    eval/enroll/idNNNNN-enroll.flac      the enrolment utterances of a speaker, one behind the other
    eval/lists/trials.lst                idNNNNN-enroll test/idNNNNN-GENRE-SESSION-UTTERANCE.wav 1
    eval/lists/enroll.map                idNNNNN-enroll idNNNNN/GENRE-SESSION-UTTERANCE.wav …, which lie in data

The same trials are two lists, which do not score alike (3D-Speaker's issue 164: 4.32 and 4.70 % EER of one model):

    cnceleb-e-average    a speaker is the mean of the embeddings of the utterances in enroll.map. Most published figures
                         are of it; WeSpeaker calls it CNC-Eval-Avg
    cnceleb-e-concat     a speaker is the one recording in eval/enroll (CNC-Eval-Concat); where that cannot be used, the
                         utterances of enroll.map are joined

A list of which any recording cannot be used is left out: it would be another one, and its figures no one else's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from vgsr.config import nearest
from vgsr.corpora import trial_file
from vgsr.corpora.joining import united
from vgsr.corpora.registry import AUDIO, CorpusError, Published, Trials, standard_lists, visible
from vgsr.corpora.rows import Rows, Utterance, in_split, misnamed, values
from vgsr.data.manifest import Problem
from vgsr.data.tables import CONCAT as SUFFIX

AVERAGE, CONCAT = "cnceleb-e-average", f"cnceleb-e{SUFFIX}"
ENROLMENTS = {"average": (AVERAGE,), "concat": (CONCAT,), "both": (AVERAGE, CONCAT)}
TEST = re.compile(r"(id\d{5})-([a-z_]+-\d+)-\d+")  # speaker; genre, session; utterance
WHOLE = re.compile(r"(id\d{5})-(enroll)")
PART = re.compile(r"(id\d{5})/([a-z_]+-\d+)-\d+\.\w+")

# Of the archive cn-celeb_v2 of OpenSLR 82, as a user of it counted: 196 speakers are enrolled and meet every test, of
# which 22 are of four speakers who are not enrolled; sources that speak of 200 speakers count those four too.
TESTS, TRIALS, TARGETS = 17_777, 3_484_292, 17_755


@dataclass(frozen=True)
class Evaluation:
    """What the lists make of their recordings.

    utterances: the recordings found. parts: of an enrolled name the ids of its utterances in enroll.map; wholes: the id
    of its one recording. trials: all those published; names: of the lists that are made.
    """

    utterances: list[Utterance] = field(default_factory=list)
    parts: Mapping[str, list[str]] = field(default_factory=dict)
    wholes: Mapping[str, str] = field(default_factory=dict)
    trials: pa.Table | None = None
    names: tuple[str, ...] = ()

    def cut(self, tests: Rows) -> list[Utterance]:
        """The test split, with an enrolment joined from its utterances where its own recording cannot be used."""
        known = {u.utterance_id: u for u in tests}
        joined = []
        for name, whole in self.wholes.items():
            parts = [known[part] for part in self.parts.get(name, ()) if part in known]
            if whole not in known and parts and len(parts) == len(self.parts[name]):
                joined.append(replace(united(parts, f"{parts[0].speaker}/enroll"), utterance_id=whole))
        return [*known.values(), *joined]

    def lists(self, utterances: Rows, seed: int) -> Trials:
        """`validation`, and the published trials by each way of enrolment."""
        made = {"validation": standard_lists(utterances, seed)["validation"]}
        if self.trials is not None and AVERAGE in self.names:
            made[AVERAGE] = self.trials
        if self.trials is not None and CONCAT in self.names:
            made[CONCAT] = trial_file.renamed(self.trials, self.wholes)
        return made

    def enrolments(self, utterances: Rows) -> dict[str, list[tuple[str, str]]]:
        """Who is enrolled in `cnceleb-e-average` by which utterances; nobody of whom one of these cannot be used."""
        known = set(values(in_split(utterances, "test"), "utterance_id").to_pylist())
        whole = {name: parts for name, parts in self.parts.items() if known.issuperset(parts)}
        return {AVERAGE: [(name, part) for name, parts in whole.items() for part in parts]}

    def published(self) -> list[Published]:
        """What is certain of the evaluation's recordings and trials; nothing where there are no lists."""
        if self.trials is None:
            return []

        def tests(rows: Rows, lists: Trials) -> int:
            return pc.sum(pc.starts_with(values(rows, "utterance_id"), "test/")).as_py() or 0

        def trials(rows: Rows, lists: Trials, name: str) -> int:
            return len(lists.get(name, ()))

        def targets(rows: Rows, lists: Trials, name: str) -> int:
            return pc.sum(pa.table(lists[name])["label"]).as_py() if name in lists else 0

        return [
            Published("CN-Celeb1 test utterances", TESTS, tests),
            *(Published(f"{name} trials", TRIALS, partial(trials, name=name)) for name in self.names),
            *(Published(f"{name} target trials", TARGETS, partial(targets, name=name)) for name in self.names),
        ]


def find(root: Path, folder: Path | None, enrolment: str, problems: list[Problem]) -> Evaluation:
    """The evaluation in the folder of CN-Celeb1, empty where there is none; what is missing becomes a problem.

    CorpusError when `enrolment` is not one of `ENROLMENTS`, or when trials.lst is no trial list.
    """
    if enrolment not in ENROLMENTS:
        raise CorpusError(f"enrolment={enrolment}: use {', '.join(ENROLMENTS)}{nearest(enrolment, ENROLMENTS)}")
    if folder is None:
        return Evaluation()
    names, place = ENROLMENTS[enrolment], folder / "eval"
    file = place / "lists" / "trials.lst"
    uri = file.relative_to(root).as_posix()
    if not file.is_file():
        problems.append(Problem(uri, "no such file; the evaluation of CN-Celeb1 is left out"))
        return Evaluation()
    trials = trial_file.read(file)
    tests = recorded(root, place / "test", TEST, problems)
    for name in sorted(set(pc.unique(trials["test"]).to_pylist()) - {u.utterance_id for u in tests}):
        problems.append(Problem(uri, f"{name} is not there"))
    parts, members = enrolled(root, folder, place / "lists" / "enroll.map", problems)
    whole = recorded(root, place / "enroll", WHOLE, problems) if CONCAT in names else []
    wholes = {name: f"enroll/{name}.wav" for name in pc.unique(trials["enrol"]).to_pylist()} if CONCAT in names else {}
    for name in sorted(set(wholes.values()) - {u.utterance_id for u in whole}):
        problems.append(Problem(uri, f"{name} is not there; in {CONCAT} it is joined from what enroll.map names"))
    return Evaluation([*tests, *members, *whole], parts, wholes, trials, names)


def recorded(root: Path, folder: Path, pattern: re.Pattern[str], problems: list[Problem]) -> list[Utterance]:
    """The recordings in a folder of the evaluation, `FOLDER/NAME.wav`; names that do not fit become problems."""
    if not folder.is_dir():
        problems.append(Problem(folder.relative_to(root).as_posix(), "no such folder"))
        return []
    utterances = []
    for path in visible(folder):
        uri, name = path.relative_to(root).as_posix(), pattern.fullmatch(path.stem)
        if name is None or path.suffix.lower() not in AUDIO:
            problems.append(misnamed(uri, f"not a recording of CN-Celeb's {folder.name} list, by its name; not read"))
        else:
            utterances.append(Utterance(f"{folder.name}/{path.stem}.wav", name[1], f"{name[1]}/{name[2]}", uri))
    return utterances


def enrolled(
    root: Path, folder: Path, file: Path, problems: list[Problem]
) -> tuple[dict[str, list[str]], list[Utterance]]:
    """Ids of the utterances by which enroll.map enrols each name, and those utterances, which lie in data."""
    uri = file.relative_to(root).as_posix()
    if not file.is_file():
        problems.append(Problem(uri, f"no such file; without it there is no {AVERAGE}"))
        return {}, []
    parts: dict[str, list[str]] = {}
    utterances: dict[str, Utterance] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        enrol, *members = line.split() or [""]
        for member in dict.fromkeys(members):
            name, stem = PART.fullmatch(member), member.rpartition(".")[0]
            own = f"{stem}.wav"
            parts.setdefault(enrol, []).append(own)
            path = next((p for ending in AUDIO if (p := folder / "data" / f"{stem}{ending}").is_file()), None)
            if name is None or name[1] != enrol.partition("-")[0]:
                wrong = f"{member}: not {enrol.partition('-')[0]}/GENRE-SESSION-UTTERANCE.wav"
                problems.append(Problem(f"{uri}:{number}", wrong))
            elif path is None:
                problems.append(Problem(f"{uri}:{number}", f"{member} is not in data"))
            else:
                utterances[own] = Utterance(own, name[1], f"{name[1]}/{name[2]}", path.relative_to(root).as_posix())
    return parts, list(utterances.values())
