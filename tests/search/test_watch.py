"""The watcher: each event of Tune becomes the right events of the outbox and of the costs, in their order."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from vgsr.search import Base, Plan
from vgsr.search.plan import REFERENCE, ROW, TRIAL, bind, parse
from vgsr.search.watch import Bridge, Watcher
from vgsr.tracking import COMPLETED, TrackedRun

NAME, EPOCHS = "s0001-abcdef", 2


class Recorder:
    """Stands for an outbox and for the attempts: what was called, in order."""

    trouble = ""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *values, **named: self.calls.append((name, *values, named)) or {"spent_cpu_seconds": 1.0}


@pytest.fixture
def watched(tiny_experiment, tmp_path):
    (tmp_path / "e.yaml").write_text(tiny_experiment({"train.epochs": EPOCHS}).yaml())
    experiment, settings = parse(
        plan := Plan("p", lambda *_: {}, {}), [f"experiment={tmp_path / 'e.yaml'}", "storage=/s"]
    )
    search = bind(plan, Base(experiment, ()), settings, "d")

    def watch(known=()):
        outbox, attempts, text = Recorder(), Recorder(), io.StringIO()
        watcher = Watcher(
            search, search.first, outbox, attempts, {"own": "tag"}, known, Console(file=text, width=200, markup=False)
        )
        return watcher, outbox, attempts, text

    return search, watch


def trial(tmp_path, last=None, error="", **chosen):
    file = tmp_path / "error.txt"
    file.write_text(error)
    config = {TRIAL: NAME, "margin": 0.5, **chosen}
    return SimpleNamespace(config=config, last_result={ROW: last} if last else None, error_file=str(file))


def row(epoch, **more):
    return {"epoch": epoch, "val_eer": 0.2, "best_val_eer": 0.1, "best_checkpoint": f"0000{epoch}", **more}


def test_a_trial_from_its_start_to_its_end(watched, tmp_path):
    search, watch = watched
    watcher, outbox, attempts, text = watch()
    facts = {"attempt": "a", "epoch": 0}
    with watcher:
        bridge, own = Bridge(search.search_id), trial(tmp_path, row(EPOCHS))
        bridge.on_trial_start(0, [], own)
        assert watcher.lines[NAME].state == "waiting for resources"
        bridge.on_trial_result(0, [], own, {ROW: {"started": facts}})
        assert watcher.lines[NAME].state == "running" and watcher.lines[NAME].epoch == 0
        for epoch in (1, 2):
            bridge.on_trial_result(0, [], own, {ROW: row(epoch)})
        bridge.on_trial_complete(0, [], own)
    told = ["waiting", "started", "row", "figures", "row", "figures", "ended", "figures"]
    assert [call[0] for call in attempts.calls] == told
    for call in (("started", NAME, facts, {}), ("ended", NAME, COMPLETED, [0.5] * EPOCHS, {})):
        assert call in attempts.calls
    opened, *rest = outbox.calls
    assert opened[:3] == ("open", search.search_id, NAME)
    assert opened[3]["tags"] == {"own": "tag", "vgsr.stage": "search", "vgsr.control": "none"}
    assert [call[0] for call in rest] == ["row", "tag", "figures", "row", "tag", "figures", "figures", "close_run"]
    place = f"/s/{search.search_id}/train/{NAME}/00002"
    assert rest[4] == ("tag", search.search_id, NAME, {"vgsr.checkpoint": place}, {})
    assert rest[-1] == ("close_run", search.search_id, NAME, COMPLETED, "", {})
    assert "margin=0.5: epoch 2/2, validation EER 20.00 % (best 10.00 %)" in text.getvalue()


@pytest.mark.parametrize(
    ("last", "state", "reason"),
    [
        (row(1), "pruned", "stopped by ASHA after epoch 1"),
        (row(1, diverged=True), "failed", "the loss was not finite in epoch 1"),
        ({"epoch": 1, "stalled": "no sign of life for 9 s"}, "failed", "no sign of life for 9 s"),
        ({"started": {"epoch": EPOCHS}}, COMPLETED, ""),
    ],
)
def test_an_end_has_its_state_and_its_reason(watched, tmp_path, last, state, reason):
    search, watch = watched
    watcher, outbox, attempts, _ = watch()
    with watcher:
        Bridge(search.search_id).on_trial_complete(0, [], trial(tmp_path, last))
    assert outbox.calls[-1] == ("close_run", search.search_id, NAME, state, reason, {})
    assert attempts.calls[0] == ("ended", NAME, state, [0.5] * EPOCHS, {})


def test_a_stall_is_no_epoch(watched, tmp_path):
    search, watch = watched
    watcher, outbox, attempts, _ = watch()
    with watcher:
        Bridge(search.search_id).on_trial_result(0, [], trial(tmp_path), {ROW: {"epoch": 1, "stalled": "?"}})
    assert outbox.calls == [] and attempts.calls == []


ERRORS = "Failure # 1 (at noon)\nTraceback\nOSError: first\nFailure # 2 (later)\nTraceback\nValueError: b\n"


def test_a_failure_is_told_and_only_the_last_one_ends_the_run(watched, tmp_path):
    search, watch = watched
    watcher, outbox, attempts, text = watch()
    with watcher:
        bridge, own = Bridge(search.search_id), trial(tmp_path, error=ERRORS, **{REFERENCE: "top 1"})
        bridge.on_trial_recover(0, [], own)
        assert outbox.calls == [] and attempts.calls == [("lost", NAME, {})]
        assert "top 1: starts again after: ValueError: b" in text.getvalue()
        bridge.on_trial_error(0, [], own)
    *_, state, reason, _ = outbox.calls[-1]
    assert state == "failed" and "OSError" not in reason and reason.endswith("ValueError: b")


def test_what_earlier_calls_finished_is_shown(watched, tmp_path):
    _, watch = watched
    done = TrackedRun(
        "r", "margin=0.1", COMPLETED, {"vgsr.trial": "s0001-0"}, {}, {"epoch": 2, "best_val_eer": 0.25}, 9
    )
    watcher, *_ = watch([done])
    console = Console(width=150, file=io.StringIO(), markup=False)
    console.print(watcher._picture())
    line = next(line for line in console.file.getvalue().splitlines() if "margin=0.1" in line)
    assert "2/2" in line and "25.00 %" in line and "completed" in line
