"""VoxCeleb1's trial lists: the published files in, tables and what is published of them out.

    veri_test.txt       vox1-o             veri_test2.txt        vox1-o-cleaned
    list_test_all.txt   vox1-e             list_test_all2.txt    vox1-e-cleaned
    list_test_hard.txt  vox1-h             list_test_hard2.txt   vox1-h-cleaned

each as it is or with .gz, a line `1 id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav` a trial. The speakers
of O are those of the set test; E and H are drawn from all 1,251 speakers, most of whom are in dev.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from vgsr.corpora import trial_file
from vgsr.corpora.registry import CorpusError, Published, Rows, Trials
from vgsr.data.manifest import Problem
from vgsr.data.tables import TRIALS, pairs

O, E, H = "vox1-o", "vox1-e", "vox1-h"  # noqa: E741
CLEANED = "-cleaned"
COLUMNS = ("label", "enrol", "test")


@dataclass(frozen=True)
class List:
    """A published list: its file, and what is published of it (None: nothing that is certain)."""

    file: str
    trials: int
    targets: int
    speakers: int
    utterances: int | None


# Trials and target trials as PaddleSpeech's examples/voxceleb/README.md has them. Speakers, and utterances of the
# cleaned lists: veri_test2.txt by counting, the other two as in issue 3 of wngh1187/RawNeXt.
LISTS = {
    O: List("veri_test.txt", 37_720, 18_860, 40, None),
    O + CLEANED: List("veri_test2.txt", 37_611, 18_802, 40, 4_708),
    E: List("list_test_all.txt", 581_480, 290_743, 1_251, None),
    E + CLEANED: List("list_test_all2.txt", 579_818, 289_921, 1_251, 145_160),
    H: List("list_test_hard.txt", 552_536, 276_270, 1_190, None),
    H + CLEANED: List("list_test_hard2.txt", 550_894, 275_488, 1_190, 137_924),
}


def folder(root: Path, given: str | None) -> Path:
    """Where the lists lie: the folder that was given, or the root; CorpusError where the former is not there."""
    if given is None:
        return root
    place = Path(str(given))
    if not place.is_dir():
        raise CorpusError(f"{place}: no such folder; trials=FOLDER names the one that holds {LISTS[O + CLEANED].file}")
    return place


def find(place: Path, name: str) -> Path | None:
    """The file of a list, as it is or with .gz; None where there is none."""
    file = LISTS[name].file
    return next((path for path in (place / file, place / f"{file}.gz") if path.is_file()), None)


def read(place: Path, names: Sequence[str], problems: list[Problem]) -> dict[str, pa.Table]:
    """The lists that have a file; one that is damaged is left out, which is a problem."""
    made = {}
    for name in names:
        file = find(place, name)
        if file is None:
            continue
        try:
            made[name] = trial_file.read(file, COLUMNS)
        except CorpusError as error:
            problems.append(Problem(file.name, f"{name} is left out: {error}"))
    return made


def published(name: str) -> list[Published]:
    """What is published of a list."""
    known = LISTS[name]
    counts = [
        Published(f"{name} trials", known.trials, partial(_count, name=name)),
        Published(f"{name} target trials", known.targets, partial(_targets, name=name)),
        Published(f"{name} speakers", known.speakers, partial(_speakers, name=name)),
    ]
    if known.utterances is not None:
        counts.append(Published(f"{name} utterances", known.utterances, partial(_utterances, name=name)))
    return counts


def _count(rows: Rows, trials: Trials, name: str) -> int:
    return len(trials.get(name, ()))


def _targets(rows: Rows, trials: Trials, name: str) -> int:
    return pc.sum(_table(trials, name)["label"]).as_py() or 0


def _utterances(rows: Rows, trials: Trials, name: str) -> int:
    return len(_names(trials, name))


def _speakers(rows: Rows, trials: Trials, name: str) -> int:
    return len({utterance.partition("/")[0] for utterance in _names(trials, name).to_pylist()})


def _names(trials: Trials, name: str) -> pa.Array:
    table = _table(trials, name)
    return pa.chunked_array([*table["enrol"].chunks, *table["test"].chunks], pa.string()).unique()


def _table(trials: Trials, name: str) -> pa.Table:
    return pairs(trials.get(name, ()), TRIALS)
