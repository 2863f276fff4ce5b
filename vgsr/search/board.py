"""The leaderboard of a running search: what MLflow knows of it in, a picture for a terminal of any width out."""

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from vgsr import tracking
from vgsr.config import nearest
from vgsr.search.columns import NOTHING, Column, name, settings, shown
from vgsr.search.plan import CONFIRMED, SEARCHED, SIZE
from vgsr.tracking import COMPLETED, FAILED, PRUNED, RUNNING, TrackedRun, Tracker, TrackingError

STATES = {RUNNING: "cyan", COMPLETED: "green", PRUNED: "yellow", FAILED: "red"}
STAGES = {SEARCHED: "stage 1 (search)", CONFIRMED: "stage 2 (confirm)"}
TRAININGS = 20  # of the latest that belong to no search
REASONS = 3  # of failures that are told
NAME_WIDTH = 28  # of a trial's name where not everything fits: what is longer goes on in the next line
PADDING = 2  # what a column is wider than its cells, and the table than its columns


@dataclass(frozen=True)
class Board:
    """What was read of a search, or of single trainings when `search` is None, and when (Unix seconds)."""

    search: TrackedRun | None
    runs: Sequence[TrackedRun]
    taken: float

    @property
    def over(self) -> bool:
        """Whether nothing on it will change."""
        return all(run.state != RUNNING for run in ([self.search] if self.search else self.runs))


def read(tracker: Tracker, wanted: str | None) -> Board:
    """The search or training of that name (or run id), or the latest search; all trainings where nothing was searched.

    TrackingError, with the nearest name, when there is nothing of that name, or nothing at all.
    """
    searches, trainings = tracking.searches(tracker), tracking.singles(tracker)
    if wanted is not None:
        names = {run.tags["vgsr.search"]: run for run in reversed([*trainings, *searches])}
        found = next((run for run in names.values() if run.run_id == wanted), names.get(wanted))
        if found is None:
            raise TrackingError(f"no search and no training {wanted!r} in {tracker.shown}{nearest(wanted, names)}")
        searches, trainings = ([found], []) if found in searches else ([], [found])
    if searches:
        return Board(searches[0], tracking.trials(tracker, searches[0].run_id), time.time())
    if not trainings:
        raise TrackingError(f"nothing has been searched or trained yet in {tracker.shown}")
    return Board(None, trainings[:TRAININGS], time.time())


def picture(board: Board, width: int, height: int | None = None, trouble: str = "") -> Group:
    """The board as it is to be shown now.

    height: lines of the terminal, from which the last rows are left out; None shows all. trouble: why MLflow does not
    tell more than was read.
    """
    runs = sorted(board.runs, key=lambda run: (run.stage != CONFIRMED, "epoch" not in run.figures, run.best_val_eer))
    above = [*_head(board), *([Text(trouble, "red")] if trouble else [])]
    below = _reasons(runs)
    room = len(runs) if height is None else max(1, height - len(above) - len(below) - 6)
    columns = fitting(_columns(runs), runs, width)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column, wide in columns:
        table.add_column(column.heading, justify="right" if column.number else "left", width=wide)
    for at, run in enumerate(runs[:room]):
        cells = [column.cell(run) for column, _ in columns]
        last = at + 1 < len(runs) and runs[at + 1].stage != run.stage
        table.add_row(*(_coloured(cell) for cell in cells), end_section=last)
    more = [Text(f"… and {len(runs) - room} more: `--once` prints all of them")] if len(runs) > room else []
    return Group(*above, *([table] if runs else [Text("no trial has started yet")]), *more, *below)


def fitting(columns: Sequence[tuple[int, Column]], runs: Sequence[TrackedRun], width: int) -> list[tuple[Column, int]]:
    """Those of the ranked columns that fit beside one another, in their order, and how wide their cells are; the
    highest ranks go first. The first column, the name, may be cut to `NAME_WIDTH`."""
    wide = [
        (rank, column, max(map(cell_len, (column.heading, *(column.cell(run) for run in runs)))))
        for rank, column in columns
    ]
    if _width(wide) > width:
        rank, column, cells = wide[0]
        wide[0] = (rank, column, min(cells, NAME_WIDTH))
    while _width(wide) > width and len(wide) > 1:
        wide.remove(max(wide, key=lambda one: one[0]))
    return [(column, cells) for _, column, cells in wide]


def _width(columns: Sequence[tuple[int, Column, int]]) -> int:
    return PADDING + sum(cells + PADDING for _, _, cells in columns)


def _columns(runs: Sequence[TrackedRun]) -> list[tuple[int, Column]]:
    """The columns as they stand, each with its rank: the higher, the sooner it is left out."""
    tests = sorted({key for run in runs for key in run.figures if key.startswith("test_") and key.endswith("_eer")})
    gpus = any("spent_gpu_seconds" in run.figures and run.figures["spent_gpu_seconds"] for run in runs)
    found = [
        (0, Column("trial", lambda run: name(run) if run.stage else run.name, number=False)),
        (1, Column("state", lambda run: run.state, number=False)),
        (2, Column("epoch", lambda run: f"{run.figures.get('epoch', 0):.0f}/{_epochs(run.params)}")),
        (0, Column("EER %", _figure("best_val_eer", 100, 2))),
        *((15 + at, Column(f"{test[5:-4]} EER %", _figure(test, 100, 2))) for at, test in enumerate(tests)),
        *((4 + at, column) for at, column in enumerate(shown(list(map(_known, settings())), runs))),
        (30, Column("utt/s", _figure("utterances_per_second", 1, 0))),
        (31, Column("wait %", _figure("data_wait_share", 100, 0))),
        (33, Column("GB", _figure("peak_memory_mb", 1 / 1000, 1), always=False)),
        (32, Column("GPU GB", _figure("peak_gpu_memory_mb", 1 / 1000, 1), always=False)),
        (21, Column("GPU-h" if gpus else "CPU-h", _figure(f"spent_{'g' if gpus else 'c'}pu_seconds", 1 / 3600, 2))),
        (20, Column("cost", _figure("cost", 1, 2))),
        (3, Column("last sign", lambda run: _age(time.time() - run.last_sign) if run.state == RUNNING else "")),
    ]
    return [ranked for ranked in found if any(ranked[1].cell(run) not in (NOTHING, "") for run in runs)]


def _epochs(params: Mapping[str, str]) -> str:
    """Of the training and its phases together, from a run's parameters."""
    found = [value for key, value in params.items() if re.fullmatch(r"train\.epochs|phases\.\d+\.epochs", key)]
    return str(sum(map(int, found))) if "train.epochs" in params else "?"


def _head(board: Board) -> list[Text]:
    if board.search is None:
        return [Text("trainings", "bold")]
    head = Text.assemble((board.search.name, "bold"), "  ", (board.search.state, STATES[board.search.state]))
    seconds = time.time() - board.search.started if board.search.state == RUNNING else board.search.seconds
    head.append(f"  elapsed {_age(seconds)}")
    if any("cost" in run.figures for run in board.runs):
        head.append(f"  cost {sum(run.figures.get('cost', 0) for run in board.runs):.2f}")
        head.append(" up to each trial's last epoch" if board.search.state == RUNNING else "")
    lines = [head]
    for stage, title in STAGES.items():
        count = Counter(run.state for run in board.runs if run.stage in (stage, "" if stage == SEARCHED else stage))
        size = board.search.tags.get(SIZE + stage)
        if count or size:
            states = ", ".join(f"{count[state]} {state}" for state in STATES if count[state]) or "nothing yet"
            lines.append(Text(f"{title}: {states}" + (f" of {size}" if size else "")))
    return lines


def _reasons(runs: Sequence[TrackedRun]) -> list[Text]:
    failed = [run for run in runs if run.state == FAILED]
    told = [
        Text(f"{name(run)} failed: {(run.tags.get('vgsr.reason', '').strip().splitlines() or ['?'])[-1]}", "red")
        for run in failed[:REASONS]
    ]
    for text in told:
        text.no_wrap, text.overflow = True, "ellipsis"
    return [*told, *([Text(f"… and {len(failed) - REASONS} more failed", "red")] if len(failed) > REASONS else [])]


def _known(column: Column) -> Column:
    """The column for runs of which MLflow may not know the settings yet."""

    def cell(run: TrackedRun) -> str:
        try:
            return column.cell(run)
        except (KeyError, ValueError):
            return NOTHING

    return Column(column.heading, cell, column.number, column.always)


def _figure(key: str, scale: float, digits: int) -> Callable[[TrackedRun], str]:
    return lambda run: f"{scale * run.figures[key]:.{digits}f}" if key in run.figures else NOTHING


def _coloured(cell: str) -> Text:
    return Text(cell, STATES.get(cell, ""))


def _age(seconds: float) -> str:
    """As a person says it: 45 s, 12 min, 3 h 05 min, 2 d 4 h."""
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if minutes < 1:
        return f"{max(0, int(seconds))} s"
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60:02d} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"
