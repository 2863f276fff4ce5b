"""The two sides of a comparison: what a user types for each in; score tables, one a seed, out."""

from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # these load MLflow: `vgsr --help` must not wait for it
    import pyarrow as pa

    from vgsr.tracking import TrackedRun, Tracker

# What a list is called that a score file does not name.
UNNAMED = "score files"


class SideError(Exception):
    """Runs or score files that cannot be compared."""


@dataclass(frozen=True)
class Side:
    """One system: its runs by seed, or score files of one list.

    text: what the user typed; files: trial list → the score files of its seeds; runs: none for score files.
    """

    text: str
    files: dict[str, list[Path]]
    runs: "list[TrackedRun]"

    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs; none are known of score files."""
        return [run.seed for run in self.runs]

    @property
    def seeds_differ_by(self) -> list[str]:
        """Settings other than the seed in which the runs differ: they are not seeds of one system then."""
        keys = {key for run in self.runs for key in run.params} - {"seed", "name"}
        return sorted(key for key in keys if len({run.params.get(key) for run in self.runs}) > 1)

    def tables(self, trials: str) -> "list[pa.Table]":
        """Score tables of a list, one a seed."""
        from vgsr.evaluation import score_files

        return [score_files.read(file) for file in self.files[trials]]

    def protocols(self, trials: str) -> list[str]:
        """How the scores of a list were made, as far as it is known: one line where all seeds are alike."""
        from vgsr.tracking import PROTOCOL

        if not self.runs:
            return ["score files, which do not say how they were made"]
        lines = [run.tags.get(f"{PROTOCOL}{trials}", "no protocol is known") for run in self.runs]
        return list(dict.fromkeys(line.removesuffix(" · 1 seed") for line in lines))


def sides(a: str, b: str, trials: str | None) -> tuple[Side, Side, list[str]]:
    """Both sides and the lists that all their runs have, or only `trials`, CORPUS/LIST or CORPUS_LIST.

    Score files are of that list, or of the only one that the other side has. Raises SideError, and TrackingError on a
    selection without runs.
    """
    found = [_side(text) for text in (a, b)]
    named = trials.replace("/", "_") if trials else None
    tracked = [set(side.files) for side in found if side.runs]
    lists = sorted(set.intersection(*tracked)) if tracked else [named or UNNAMED]
    if named:
        if named not in lists:
            raise SideError(f"no list {trials!r} that all runs were tested on; they have {', '.join(lists) or 'none'}")
        lists = [named]
    if not lists:
        has = "; ".join(f"{side.text}: {', '.join(side.files) or 'none'}" for side in found)
        raise SideError(f"there is no list that all runs were tested on ({has})")
    if len(lists) > 1 and not all(side.runs for side in found):
        raise SideError(f"of which list are the score files? Name it with --trials: {', '.join(lists)}")
    one, other = (side if side.runs else Side(side.text, {lists[0]: side.files[UNNAMED]}, []) for side in found)
    return one, other, lists


def paired(a: Side, b: Side) -> bool:
    """Whether both sides have the same seeds, each once."""
    return bool(a.seeds) and a.seeds == b.seeds and len(set(a.seeds)) == len(a.seeds)


def _side(text: str) -> Side:
    files = _files(text)
    return Side(text, {UNNAMED: files}, []) if files else _of_runs(text)


def _files(text: str) -> list[Path]:
    """Score files that a name, a pattern, or several with commas between them mean; none where they mean no files."""
    parts = [text] if Path(text).is_file() else [part.strip() for part in text.split(",")]
    found = {
        part: [Path(file) for file in sorted(glob(part, recursive=True)) if Path(file).is_file()] for part in parts
    }
    lost = [part for part, files in found.items() if not files]
    if lost and (len(lost) < len(found) or any(Path(part).suffix == ".parquet" for part in lost)):
        raise SideError(f"{text}: no such score file: {', '.join(lost)}")
    return list(dict.fromkeys(file for files in found.values() for file in files))


def _of_runs(text: str) -> Side:
    from vgsr import tracking

    tracker = tracking.connect()
    runs = sorted(_select(tracker, text), key=lambda run: (run.seed, run.run_id))
    of_run = [_scores(tracker, run) for run in runs]
    common = [name for name in of_run[0] if all(name in files for files in of_run)]
    return Side(text, {name: [files[name] for files in of_run] for name in common}, runs)


def _select(tracker: "Tracker", text: str) -> "Sequence[TrackedRun]":
    """The runs of a selection, or of several with commas between them; a run's own name may have commas in it."""
    from vgsr import tracking

    parts, found = text.split(","), dict[str, "TrackedRun"]()
    while parts:
        for count in range(len(parts), 0, -1):  # the longest beginning that means runs
            try:
                runs = tracking.select(tracker, ",".join(parts[:count]).strip())
                break
            except tracking.TrackingError:
                if count == 1:
                    raise
        found |= {run.run_id: run for run in runs}
        parts = parts[count:]
    return list(found.values())


def _scores(tracker: "Tracker", run: "TrackedRun") -> dict[str, Path]:
    """Trial list → the score file of a run."""
    from vgsr import tracking

    folder = tracking.attached(tracker, run.run_id, tracking.SCORES)
    files = sorted(folder.glob("*.parquet")) if folder else []
    if not files:
        raise SideError(
            f"run {run.name} ({run.run_id}) has no scores: a search tests its references and its best run only, and "
            "runs of older versions did not keep scores. `vgsr evaluate --save FOLDER` writes score files to compare"
        )
    return {file.stem: file for file in files}
