"""The accounts of a search as they are kept: over restarts, on disk and on S3, and as a person reads them."""

import logging
import threading
from datetime import date

import pytest

from vgsr import storage
from vgsr.search import attempts as module
from vgsr.search.attempts import Attempts, AttemptsError
from vgsr.search.ledger import COMPLETED, FAILED, PRUNED, Ledger
from vgsr.search.prices import MACHINE, Machine, Prices

PRICES = Prices("EUR", date(2026, 1, 1), "typed", {"m": Machine(provider="own", cpus=4, gpus=1, on_demand=36.0)})


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def _facts(attempt, entered, labels=None):
    worker = {"rank": 0, "cpus": 4.0, "gpus": 1.0, "node": "n", "labels": labels or {MACHINE: "m"}}
    return {"attempt": attempt, "entered": entered, "epoch": 0, "workers": [worker]}


def _row(epoch, attempt, seconds):
    return {"epoch": epoch, "attempt": attempt, "attempt_seconds": seconds, "total_seconds": 10.0 * epoch}


def _search(attempts, clock):
    """A completed trial that was lost once, a pruned one, a failed one, one that waits, one that runs."""
    for trial in ("good", "pruned", "bad", "waits", "runs"):
        attempts.waiting(trial)
    clock.now = 2000
    for trial in ("good", "pruned", "bad", "runs"):
        attempts.started(trial, _facts(f"{trial}-1", 2000))
    clock.now = 2012
    attempts.row("good", _row(1, "good-1", 11.0))
    attempts.row("pruned", _row(1, "pruned-1", 12.0))
    attempts.ended("pruned", PRUNED, [2.0] * 5)
    clock.now = 2020
    attempts.lost("good")
    attempts.ended("bad", FAILED, [2.0] * 5)
    clock.now = 2100
    attempts.started("good", _facts("good-2", 2100))
    attempts.row("good", _row(1, "good-1", 11.0))
    clock.now = 2150
    attempts.row("good", _row(5, "good-2", 45.0))
    attempts.ended("good", COMPLETED, [2.0] * 5)


@pytest.mark.parametrize("remote", [False, True], ids=["disk", "s3"])
def test_a_search_and_its_bill(request, tmp_path, clock, remote):
    file = f"{request.getfixturevalue('s3').place}/x/attempts.json" if remote else str(tmp_path / "x" / "attempts.json")
    attempts = Attempts(file, PRICES, clock)
    _search(attempts, clock)
    bill = attempts.bill()
    assert bill.completed.gpu_seconds == 11 + 50
    assert bill.pruned.gpu_seconds == 12
    assert bill.failed.gpu_seconds == 20
    assert bill.faults.gpu_seconds == 9
    assert bill.running.gpu_seconds == 150
    assert bill.spent.gpu_seconds == 61 + 12 + 20 + 9 + 150
    assert bill.spent.cpu_seconds == 4 * bill.spent.gpu_seconds
    assert bill.spent.money == pytest.approx(0.01 * bill.spent.gpu_seconds)
    assert bill.saved.gpu_seconds == 4 * 10
    assert attempts.figures("good") == {
        "spent_gpu_seconds": 70,
        "spent_cpu_seconds": 280,
        "lost_gpu_seconds": 9,
        "lost_cpu_seconds": 36,
        "attempts": 2,
        "cost": pytest.approx(0.7),
    }
    assert attempts.figures("bad")["lost_gpu_seconds"] == 20
    assert attempts.figures("waits") == {
        "spent_gpu_seconds": 0,
        "spent_cpu_seconds": 0,
        "lost_gpu_seconds": 0,
        "lost_cpu_seconds": 0,
        "attempts": 0,
        "cost": 0,
    }
    attempts.close()

    clock.now = 9000  # much later: what ran is lost, up to where its driver was seen
    again = Attempts(file, PRICES, clock)
    assert again.bill().running.gpu_seconds == 0
    assert again.bill().faults.gpu_seconds == 9 + 150
    assert again.bill().spent == bill.spent
    again.close()


def test_lines_for_a_person(tmp_path, clock):
    attempts = Attempts(str(tmp_path / "a.json"), PRICES, clock)
    _search(attempts, clock)
    spent, saved, lost = attempts.bill().lines()
    assert spent.startswith("spent: 0.07 GPU-hours, 0.28 CPU-hours, 2.52 EUR (24 % on completed trials, 5 % on pruned")
    assert "4 % lost to faults and done again" in spent
    assert saved == "saved by pruning: 0.01 GPU-hours, 0.04 CPU-hours, 0.40 EUR"
    assert lost == "lost to faults: 0.01 GPU-hours, 0.03 CPU-hours, 0.29 EUR"
    attempts.close()


@pytest.mark.parametrize("listed", [None, PRICES], ids=["no list", "a machine without a price"])
def test_no_price_is_no_money_not_nothing(tmp_path, clock, listed):
    attempts = Attempts(str(tmp_path / "a.json"), listed, clock)
    attempts.started("t", _facts("t-1", 1000, {MACHINE: "unheard-of"}))
    clock.now = 1036
    attempts.ended("t", COMPLETED, [2.0])
    assert attempts.bill().spent.money is None
    assert "cost" not in attempts.figures("t")
    assert ("a node's price is not known" in attempts.bill().lines()[0]) == (listed is not None)
    assert "EUR" not in attempts.bill().lines()[0]
    attempts.close()


def test_a_sign_of_life_while_workers_run(tmp_path, clock, monkeypatch):
    """Without any event the file says for how long the driver lived; whoever is killed then loses no more."""
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)
    files, at = [], {1000: threading.Event(), 1500: threading.Event()}

    def put(content, place, put=storage.put_bytes):
        put(content, place)
        files.append(Ledger.model_validate_json(content))
        if files[-1].trials and files[-1].seen in at:
            at[files[-1].seen].set()

    monkeypatch.setattr(storage, "put_bytes", put)
    file = str(tmp_path / "a.json")
    attempts = Attempts(file, PRICES, clock)
    attempts.started("t", _facts("t-1", 1000))
    assert at[1000].wait(20)  # the event itself; what comes after it are signs of life
    clock.now = 1500
    assert at[1500].wait(20)
    killed = Attempts(file, PRICES, clock)  # as after a kill: the first was never closed
    assert killed.bill().faults.gpu_seconds == 500
    killed.close()
    attempts.close()
    attempts = Attempts(str(tmp_path / "b.json"), PRICES, clock)
    count = len(files)
    attempts.waiting("t")
    attempts.close()
    assert len(files) <= count + 2  # nothing runs: nothing to keep saying


def test_a_store_that_fails_stops_nobody(tmp_path, clock, monkeypatch, caplog):
    broken = True

    def put(content, place, put=storage.put_bytes):
        if broken:
            raise storage.StorageError(f"{place}: not written: on fire")
        put(content, place)

    monkeypatch.setattr(storage, "put_bytes", put)
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)
    with caplog.at_level(logging.WARNING):
        attempts = Attempts(str(tmp_path / "a.json"), PRICES, clock)
        attempts.started("t", _facts("t-1", 1000))
        clock.now = 1010
        attempts.ended("t", COMPLETED, [2.0])
        assert attempts.bill().spent.gpu_seconds == 10
        broken = False
        attempts.close()
    assert sum("on fire" in message for message in caplog.messages) <= 1
    again = Attempts(str(tmp_path / "a.json"), PRICES, clock)
    assert again.bill().completed.gpu_seconds == 10
    again.close()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"trials": {"t": {"attempts": 3}}}', b'{"seen": 1, "more": 2}'])
def test_a_broken_file_is_named(tmp_path, content):
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(AttemptsError, match=r"a\.json: not the accounts of a search"):
        Attempts(str(file), None)
    assert file.read_bytes() == content


def test_many_threads(tmp_path):
    clock = Clock()
    attempts = Attempts(str(tmp_path / "a.json"), PRICES, clock)

    def one(trial):
        for number in range(20):
            attempts.started(trial, _facts(f"{trial}-{number}", 1000))
            attempts.lost(trial)

    threads = [threading.Thread(target=one, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [attempts.figures(f"t{number}")["attempts"] for number in range(8)] == [20.0] * 8
    attempts.close()
