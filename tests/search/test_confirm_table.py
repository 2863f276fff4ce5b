"""The table of stage 2: means over seeds by another's arithmetic, gains with their sign, what did not run."""

import io
import statistics
from types import SimpleNamespace

import pytest
from rich.console import Console

from vgsr.search import confirm_table
from vgsr.search.confirm import Confirmation
from vgsr.search.gains import Gain
from vgsr.search.verdict import Verdict
from vgsr.tracking import COMPLETED, FAILED, PROTOCOL, TrackedRun

CONFIRMATION = Confirmation(
    {name: {} for name in ("top 1", "no teacher", "shuffled faces")},
    {"top 1": "s0004-3fa91c"},
    {"hard constraint": "top 1"},
)
EERS = {"top 1": (0.1, 0.13), "no teacher": (0.2, 0.22), "shuffled faces": (0.15, 0.16)}
GAINS = {"top 1": {"c_test": Gain(-0.25, -0.4, -0.1, 2)}, "shuffled faces": {"c_test": Gain(why="too few")}}
REASON = "Promoted to champion: top 1.\nAgainst no teacher on c_test: better."


def run(arm, seed, eer, state=COMPLETED):
    control = "shuffled" if arm == "shuffled faces" else "none"
    tags = {"vgsr.reference": arm, "vgsr.control": control, "vgsr.checkpoint": f"/runs/{arm}-{seed}"}
    tags |= {f"{PROTOCOL}c_test": "by some protocol"} if state == COMPLETED else {"vgsr.reason": "it stalled"}
    figures = {"best_val_eer": eer / 2, "test_c_test_eer": eer} if state == COMPLETED else {}
    return TrackedRun(f"{arm}-{seed}", f"{arm}, seed {seed}", state, tags, {"seed": str(seed)}, figures, 1.0)


RUNS = [run(arm, seed, eer) for arm, eers in EERS.items() for seed, eer in enumerate(eers, 1)]


@pytest.fixture
def shown(tiny_experiment):
    def show(runs=RUNS, confirmation=CONFIRMATION, verdict=None, width=150):
        console = Console(width=width, file=io.StringIO(), markup=False)
        search = SimpleNamespace(experiment=tiny_experiment())
        confirm_table.show(search, runs, confirmation, verdict, "3", console)
        return console.file.getvalue()

    return show


def line(text, arm):
    return next(line for line in text.splitlines() if line.startswith(f"│ {arm} "))


def cells(text, arm):
    return [cell.strip() for cell in line(text, arm).strip("│").split("│")]


def test_an_arm_is_a_line_with_its_means_and_its_gain(shown):
    text = shown(verdict=Verdict(True, REASON, "top 1", "top 1-2", GAINS))
    test, own = ([100 * eer for eer in EERS["top 1"]], [50 * eer for eer in EERS["top 1"]])
    told = [f"{statistics.fmean(one):.2f} ± {statistics.stdev(one):.2f}" for one in (own, test)]
    expected = ["top 1", "s0004-3fa91c", "2", *told, "+25.0", "+10.0 to +40.0", "better"]
    assert cells(text, "top 1") == expected
    assert cells(text, "no teacher")[5:] == ["–", "–", ""]
    assert cells(text, "shuffled faces [control: shuffled]")[7] == "cannot be told"
    for said in (
        "hard constraint is top 1 over again",
        "c_test: by some protocol",
        "SYNTHETIC",
        "seeds 1, 2",
        *REASON.splitlines(),
    ):
        assert said in text
    assert "best checkpoint: /runs/top 1-2 (models:/vgsr@champion, models:/vgsr/3)" in text
    assert max(len(one) for one in text.splitlines() if one.startswith(("┃", "│"))) <= 150


def test_what_was_not_promoted_is_not_called_the_champion(shown):
    text = shown(verdict=Verdict(False, "Not promoted: top 1: worse.", "top 1", "top 1-1", {}))
    assert "best checkpoint: /runs/top 1-1 (models:/vgsr/3)" in text and "@champion" not in text


def test_a_run_that_failed_is_not_in_the_means_but_told(shown):
    text = shown(runs=[*RUNS, run("top 1", 3, 0.9, FAILED)])
    assert cells(text, "top 1")[2] == "2" and "top 1, seed 3: failed, it stalled" in text
    assert "There is no verdict any more" in text


def test_nothing_confirmed_is_said(shown):
    assert "Nothing was confirmed" in shown(confirmation=Confirmation({}, {}))
