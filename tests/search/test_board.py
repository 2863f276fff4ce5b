"""The board: what is on it, in which order, and what is left out where the terminal is narrow or low."""

import io
import time

import pytest
from rich.console import Console

from vgsr.search import board
from vgsr.search.board import Board
from vgsr.tracking import COMPLETED, FAILED, PRUNED, RUNNING, TrackedRun


@pytest.fixture
def run(tiny_experiment):
    """Makes a run of a search: `run("s0001-aa", COMPLETED, 0.1, stage="search", cost=2.0)`."""

    def make(trial, state, eer=None, stage="search", reference="", reason="", changes=None, sign=0.0, **figures):
        experiment = tiny_experiment({"distill.weight": 2.0, "train.epochs": 9, **(changes or {})})
        control = experiment.teacher.control
        tags = {"vgsr.search": "s", "vgsr.trial": trial, "vgsr.stage": stage, "vgsr.reason": reason}
        tags |= {"vgsr.control": control, **({"vgsr.reference": reference} if reference else {})}
        params = {key: str(value) for key, value in experiment.flat().items()}
        figures = {key.replace("__", "-"): value for key, value in figures.items()}
        if eer is not None:
            figures = {"epoch": 3.0, "best_val_eer": eer, "utterances_per_second": 812.4, **figures}
        now = time.time()
        return TrackedRun(trial, reference or trial, state, tags, params, figures, 5.0, now - 60, now - sign)

    return make


def parent(state=RUNNING, **tags):
    now = time.time()
    return TrackedRun("p", "the search", state, {"vgsr.search": "s", **tags}, {}, {}, 7300.0, now - 3700, now)


def shown(found, width=200, height=None, trouble=""):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(board.picture(found, width, height, trouble))
    return console.file.getvalue()


def rows(text):
    """The cells of the table's lines, by what stands in the first column."""
    lines = [line.strip() for line in text.splitlines()]
    head = next(at for at, line in enumerate(lines) if line.startswith("trial  "))
    return [line.split() for line in lines[head:] if line and not line.startswith("─")]


def test_best_first_stage_by_stage_and_how_far_the_search_is(run):
    runs = [
        run("s0000-aa", PRUNED, 0.3),
        run("s0001-bb", COMPLETED, 0.125, cost=1.5),
        run("s0002-cc", RUNNING, 0.2, sign=125),
        run("s0003-dd", FAILED, reason="Traceback\nValueError: no luck"),
        run("c0000-ee", COMPLETED, 0.15, stage="confirm", reference="no teacher", test_vox1__o_eer=0.1),
    ]
    text = shown(Board(parent(**{"vgsr.size.search": "6", "vgsr.size.confirm": "12"}), runs, 0.0))
    assert "the search  running  elapsed 1 h 01 min  cost 1.50 up to each trial's last epoch" in text
    assert "stage 1 (search): 1 running, 1 completed, 1 pruned, 1 failed of 6\n" in text.replace(" \n", "\n")
    assert "stage 2 (confirm): 1 completed of 12" in text
    assert "s0003-dd failed: ValueError: no luck" in text
    table = rows(text)
    assert [line[0] for line in table[1:6]] == ["no", "s0001-bb", "s0002-cc", "s0000-aa", "s0003-dd"]
    assert table[1][2:6] == ["completed", "3/9", "15.00", "10.00"], "the test list's EER stands beside it"
    assert table[3][-2:] == ["2", "min"] and "812" in table[3]
    assert table[2][-1] == "1.50"


def test_what_matters_least_goes_first_where_it_is_narrow(run):
    runs = [
        run(
            f"s{n:04}-aa",
            RUNNING,
            0.1 + n / 100,
            changes={"distill.margin.value": 0.1 * n + 0.1},
            cost=1234.5,
            spent_cpu_seconds=3e7,
        )
        for n in range(3)
    ]
    headings = {width: rows(shown(Board(parent(), runs, 0.0), width))[0] for width in (40, 50, 70, 200)}
    assert headings[40] == ["trial", "state", "epoch", "EER", "%"]
    assert headings[50] == ["trial", "state", "epoch", "EER", "%", "last", "sign"]
    assert "margin" in headings[70] and not {"utt/s", "CPU-h"} & set(headings[70])
    assert {"margin", "λ", "utt/s", "cost"} <= set(headings[200])
    for width in headings:
        assert max(map(len, shown(Board(parent(), runs, 0.0), width).splitlines())) <= width


def test_a_control_says_so_even_where_its_name_is_cut(run):
    control = run("c0", RUNNING, 0.2, stage="confirm", reference="shuffled faces, seed 2 [control: shuffled]")
    assert "[control: shuffled]" in shown(Board(parent(), [control], 0.0), 60)


def test_a_low_terminal_shows_the_best_and_how_many_there_are_beside(run):
    runs = [run(f"s{n:04}-aa", COMPLETED, 0.1 + n / 1000) for n in range(50)]
    text = shown(Board(parent(), runs, 0.0), height=20, trouble="MLflow does not answer")
    assert "s0000-aa" in text and "s0049-aa" not in text and "MLflow does not answer" in text
    assert len(text.splitlines()) <= 20
    hidden = 50 - text.count("-aa")
    assert f"and {hidden} more" in text


def test_runs_that_mlflow_knows_little_of_are_on_it_all_the_same(run):
    bare = TrackedRun("x", "new", RUNNING, {"vgsr.trial": "s0-aa", "vgsr.stage": "search"}, {}, {}, 0.0)
    assert rows(shown(Board(parent(), [bare, run("s1", RUNNING, 0.1)], 0.0)))[-1][0] == "s0-aa"
    assert "no trial has started yet" in shown(Board(parent(), [], 0.0))


def test_it_is_over_when_nothing_runs(run):
    assert Board(parent(COMPLETED), [run("a", RUNNING)], 0.0).over
    assert not Board(parent(), [run("a", COMPLETED)], 0.0).over
    assert not Board(None, [run("a", COMPLETED), run("b", RUNNING)], 0.0).over
