"""The accounts against a second-by-second record of the same events."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgsr.search.ledger import COMPLETED, FAILED, PRUNED, Account, Cost, Ledger, total
from vgsr.search.prices import MACHINE, Machine, Prices

PRICES = Prices(
    "EUR",
    date(2026, 1, 1),
    "typed",
    {
        "plain": Machine(provider="own", cpus=8, gpus=0, on_demand=28.8),  # 0.001 a core's second
        "gpu": Machine(provider="own", cpus=4, gpus=2, on_demand=72.0),  # 0.01 a GPU's second
    },
)
WORKERS = [
    [{"rank": 0, "cpus": 2, "gpus": 0, "node": "a", "labels": {MACHINE: "plain", "other": "x"}}],
    [
        {"rank": 0, "cpus": 1, "gpus": 1, "node": "a", "labels": {MACHINE: "gpu"}},
        {"rank": 1, "cpus": 3, "gpus": 0, "node": "b", "labels": {MACHINE: "plain"}},
    ],
]
SECOND = [Cost(gpu_seconds=0, cpu_seconds=2, money=0.002), Cost(gpu_seconds=1, cpu_seconds=4, money=0.013)]
HEARTBEAT = 3


@dataclass
class Recorded:
    """One attempt, second by second: when, and whether its work was safe in the end."""

    world: int
    seconds: dict[int, bool] = field(default_factory=dict)
    open: bool = True


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["start", "row", "lost", "end", "kill", "pass", "waiting"]),
        st.integers(0, 1),
        st.integers(0, 7),
    ),
    max_size=40,
)


def _play(steps):
    """The ledger after these steps, the record, and what a reloaded driver knew too little, in attempt seconds."""
    now, ledger, forgotten = 1000, Ledger(seen=1000), 0
    record: dict[int, list[Recorded]] = defaultdict(list)
    state: dict[int, str] = {}
    on_disk = ledger

    def change(trial, account):
        nonlocal ledger, on_disk
        ledger = Ledger(seen=now, trials={**ledger.trials, str(trial): account})
        on_disk = ledger

    for kind, trial, number in steps:
        account = ledger.trials.get(str(trial), Account())
        current = record[trial][-1] if record[trial] and record[trial][-1].open else None
        if kind == "pass":
            for _ in range(number):
                for attempts in record.values():
                    if attempts and attempts[-1].open:
                        attempts[-1].seconds[now] = False
                now += 1
                if now % HEARTBEAT == 0:
                    on_disk = ledger.model_copy(update={"seen": now})
        elif kind == "start":
            if current:
                current.open = False
            record[trial].append(Recorded(number % 2))
            state.pop(trial, None)
            facts = {
                "attempt": f"{trial}-{len(record[trial])}",
                "entered": now,
                "epoch": 0,
                "workers": WORKERS[number % 2],
            }
            change(trial, account.started(facts, now))
        elif kind == "row" and current:
            row = {
                "epoch": account.epoch + 1,
                "total_seconds": 5.0 * (account.epoch + 1),
                "attempt": f"{trial}-{len(record[trial])}",
                "attempt_seconds": float(len(current.seconds)),
            }
            current.seconds = dict.fromkeys(current.seconds, True)
            change(trial, account.row(row))
        elif kind in ("lost", "waiting") and current:
            current.open = False
            change(trial, account.lost(now))
        elif kind == "end" and record[trial]:
            state[trial] = [COMPLETED, PRUNED, FAILED][number % 3]
            if current:
                current.open, current.seconds = False, dict.fromkeys(current.seconds, True)
            change(trial, account.ended(state[trial], [2.0] * 10, now))
        elif kind == "kill":  # the driver and its workers; the next one has what was written
            for attempts in record.values():
                if attempts and attempts[-1].open:
                    attempts[-1].open = False
                    late = [second for second in attempts[-1].seconds if second >= on_disk.seen]
                    assert len(late) <= HEARTBEAT
                    for second in late:
                        forgotten += 1
                        del attempts[-1].seconds[second]
            ledger = on_disk = Ledger.model_validate_json(on_disk.model_dump_json()).resumed()
    return ledger, record, state, now


def _cost(record, chosen):
    parts = [0.0, 0.0, 0.0]
    for attempt in record:
        count = sum(chosen(attempt, safe) for safe in attempt.seconds.values())
        one = SECOND[attempt.world]
        parts = [a + count * b for a, b in zip(parts, (one.gpu_seconds, one.cpu_seconds, one.money), strict=True)]
    return pytest.approx(parts)


def _parts(cost):
    return [cost.gpu_seconds, cost.cpu_seconds, cost.money]


@given(STEPS)
@settings(max_examples=150)
def test_against_a_record_of_every_second(steps):
    """Spent, used and lost are what a count of seconds gives; nothing is in two parts or in none."""
    ledger, record, state, now = _play(steps)
    for trial, attempts in record.items():
        account = ledger.trials.get(str(trial), Account())
        assert account.state == state.get(trial, "")
        assert len(account.attempts) == len(attempts)
        assert _parts(account.spent(now, PRICES)) == _cost(attempts, lambda attempt, safe: True)
        assert _parts(account.faults(now, PRICES)) == _cost(
            attempts, lambda attempt, safe: not attempt.open and not safe
        )
        assert _parts(account.used(now, PRICES)) == _cost(attempts, lambda attempt, safe: attempt.open or safe)
        sum_of_both = account.used(now, PRICES) + account.faults(now, PRICES)
        assert _parts(sum_of_both) == pytest.approx(_parts(account.spent(now, PRICES)))


def _facts(attempt, entered, world=0):
    return {"attempt": attempt, "entered": entered, "epoch": 0, "workers": WORKERS[world]}


def _row(epoch, attempt, seconds, total_seconds):
    return {"epoch": epoch, "attempt": attempt, "attempt_seconds": seconds, "total_seconds": total_seconds}


def test_saved_by_pruning_is_the_epochs_left_at_the_trials_own_speed():
    account = Account().started(_facts("a", 100, world=1), 100)
    account = account.row(_row(1, "a", 22, 20)).row(_row(2, "a", 42, 40)).ended(PRUNED, [2.0] * 10, 145)
    assert account.saved(None).gpu_seconds == pytest.approx(8 * 20)
    assert account.saved(PRICES).money == pytest.approx(8 * 20 * 0.013)
    for state in (COMPLETED, FAILED):
        assert account.ended(state, [2.0] * 10, 145).saved(PRICES) == Cost()


def test_what_pruning_saves_of_a_phase_counts_by_the_length_of_its_crops():
    account = Account().started(_facts("a", 100, world=1), 100).row(_row(2, "a", 42, 40))
    ended = account.ended(PRUNED, [2.0] * 6 + [6.0, 6.0], 145)  # four epochs of 20 s and two of 60 s are left
    assert ended.saved(None).gpu_seconds == pytest.approx(4 * 20 + 2 * 60)


def test_a_row_that_is_said_again_after_a_restart_counts_once_and_rescues_what_seemed_lost():
    """The driver died before it heard of the epoch; the next attempt reports it again, under the id of the first."""
    account = Account().started(_facts("a", 100), 100).lost(130)
    assert account.faults(200, None).cpu_seconds == 2 * 30
    again = account.started(_facts("b", 150), 150).row(_row(1, "a", 25, 20))
    assert again.faults(150, None).cpu_seconds == 2 * 5
    assert again.row(_row(1, "a", 25, 20)) == again
    assert again.row(_row(1, "a", 9, 8)).faults(150, None) == again.faults(150, None)  # an earlier one, late
    longer = account.started(_facts("b", 150), 150).row(_row(1, "a", 40, 38))  # it had lived for longer than was known
    assert longer.faults(150, None).cpu_seconds == 0
    assert longer.spent(150, None).cpu_seconds == 2 * 40


def test_a_message_that_is_said_twice_changes_nothing():
    account = Account().started(_facts("a", 100), 100)
    assert account.started(_facts("a", 100), 105) == account
    ended = account.ended(COMPLETED, [2.0], 120)
    assert ended.ended(COMPLETED, [2.0], 190).spent(200, None) == account.ended(COMPLETED, [2.0], 120).spent(200, None)


def test_a_trial_whose_end_was_forgotten_goes_on():
    account = Account().started(_facts("a", 100), 100).ended(PRUNED, [2.0] * 9, 120).started(_facts("b", 150), 150)
    assert account.state == "" and account.left == 0
    assert account.spent(160, None).cpu_seconds == 2 * (20 + 10)


def test_a_new_attempt_ends_one_that_nobody_called_lost():
    account = Account().started(_facts("a", 100), 100).started(_facts("b", 130), 131)
    assert account.spent(131, None).cpu_seconds == 2 * 31
    assert account.faults(131, None).cpu_seconds == 2 * 30


def test_a_run_that_diverged_in_its_first_epoch():
    account = Account().started(_facts("a", 100), 100)
    account = account.row({"epoch": 1, "diverged": True}).ended(FAILED, [2.0] * 5, 110)
    assert account.epoch == 0
    assert account.spent(200, None).cpu_seconds == 20


def test_money_is_not_known_where_one_node_has_no_price():
    facts = _facts("a", 100, world=1)
    facts["workers"] = [facts["workers"][0], {**facts["workers"][1], "labels": {}}]
    account = Account().started(facts, 100).ended(COMPLETED, [2.0], 110)
    assert account.spent(110, PRICES).money is None
    assert account.spent(110, PRICES).gpu_seconds == 10
    known = Account().started(_facts("b", 100), 100).ended(COMPLETED, [2.0], 110)
    assert total([account.spent(110, PRICES), known.spent(110, PRICES)]).money is None
    assert total([known.spent(110, PRICES)]).money == pytest.approx(0.02)
    assert total([]).money == 0


def test_clocks_that_differ_cost_nothing():
    """A worker whose clock is ahead has entered in the driver's future."""
    account = Account().started(_facts("a", 103), 100)
    assert account.spent(101, None).cpu_seconds == 0
    assert account.lost(102).spent(200, None).cpu_seconds == 0
