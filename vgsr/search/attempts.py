"""Who used which resources for how long, and to what end: the costs of a search, kept over restarts of its driver.

In: events of trials as the driver hears of them. Out: seconds and money, of a trial and of the whole search; and
a file in the search's place, from which the next driver goes on. What is counted is said in `ledger`.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from vgsr import storage
from vgsr.search.ledger import COMPLETED, FAILED, PRUNED, Account, Cost, Ledger, total
from vgsr.search.prices import Prices

__all__ = ["Attempts", "AttemptsError", "Bill", "Cost"]

log = logging.getLogger(__name__)

# How often it is written while workers run. A driver that is killed forgets as much of what was spent, at most.
HEARTBEAT_SECONDS = 5.0


class AttemptsError(Exception):
    """The accounts of an earlier driver cannot be read; the text says where they are and what to do."""


@dataclass(frozen=True)
class Bill:
    """What a search spent, and what became of it: spent = completed + pruned + failed + faults + running."""

    spent: Cost
    completed: Cost  # on trials that were completed
    pruned: Cost  # on trials that were pruned
    failed: Cost  # on trials that failed for good: they diverged, stalled, or crashed once too often
    faults: Cost  # lost in crashes, preemptions and kills, by trials that went on; done again
    running: Cost  # on trials that are not over
    saved: Cost  # not spent: the epochs that pruning spared, at the trials' own speed
    currency: str | None = None

    def lines(self) -> list[str]:
        """For a person: a few lines, hours and money."""
        parts = {
            "completed trials": self.completed,
            "pruned trials": self.pruned,
            "failed trials": self.failed,
            "trials that still run": self.running,
        }
        shares = [f"{self._share(cost)} on {name}" for name, cost in parts.items() if cost.cpu_seconds]
        if self.faults.cpu_seconds:
            shares.append(f"{self._share(self.faults)} lost to faults and done again")
        return [
            f"spent: {self._said(self.spent)}" + (f" ({', '.join(shares)})" if shares else ""),
            f"saved by pruning: {self._said(self.saved)}",
            f"lost to faults: {self._said(self.faults + self.failed)}",
        ]

    def _said(self, cost: Cost) -> str:
        hours = [f"{cost.gpu_seconds / 3600:.2f} GPU-hours"] if self.spent.gpu_seconds else []
        hours.append(f"{cost.cpu_seconds / 3600:.2f} CPU-hours")
        if cost.money is None:
            return f"{', '.join(hours)} (a node's price is not known)" if self.currency else ", ".join(hours)
        return ", ".join([*hours, f"{cost.money:.2f} {self.currency}"])

    def _share(self, cost: Cost) -> str:
        part, whole = (
            (cost.gpu_seconds, self.spent.gpu_seconds)
            if self.spent.gpu_seconds
            else (cost.cpu_seconds, self.spent.cpu_seconds)
        )
        return f"{100 * part / whole:.0f} %"


class Attempts:
    """The attempts of a search's trials. Every event, and a sign of life while workers run, is written to
    `file` (local or s3) by a thread; the callers never wait for it."""

    def __init__(self, file: str, prices: Prices | None, clock: Callable[[], float] = time.time) -> None:
        self._file, self._prices, self._clock = file, prices, clock
        self._ledger = _read(self._file).resumed()
        self._lock, self._changed, self._closing = threading.Lock(), threading.Event(), False
        self._trouble = ""
        self._thread = threading.Thread(target=self._keep, name="attempts", daemon=True)
        self._thread.start()

    def waiting(self, trial: str) -> None:
        """Its driver is there; it may wait for resources for long, which costs nothing. Former workers are gone."""
        self.lost(trial)

    def started(self, trial: str, facts: Mapping[str, Any]) -> None:
        """Its workers are there (`facts` of the message `started`)."""
        self._change(trial, lambda account, now: account.started(facts, now))

    def row(self, trial: str, row: Mapping[str, Any]) -> None:
        """An epoch has ended: its work is safe."""
        self._change(trial, lambda account, now: account.row(row))

    def ended(self, trial: str, state: str, crops: Sequence[float]) -> None:
        """The trial has ended as `completed`, `pruned` or `failed`; crops: see `Account.ended`."""
        self._change(trial, lambda account, now: account.ended(state, crops, now))

    def lost(self, trial: str) -> None:
        """Its workers are gone before their end; it may start again."""
        self._change(trial, lambda account, now: account.lost(now))

    def figures(self, trial: str) -> dict[str, float]:
        """Of one trial, for MLflow: `spent_gpu_seconds`, `spent_cpu_seconds` (reserved, not CPU time), of these
        `lost_gpu_seconds`, `lost_cpu_seconds`, then `attempts`, and `cost` where every node's price is known.

        All that a failed trial spent is lost.
        """
        with self._lock:
            account, now = self._ledger.trials.get(trial, Account()), self._clock()
        spent = account.spent(now, self._prices)
        lost = spent if account.state == FAILED else account.faults(now, self._prices)
        figures = {
            "spent_gpu_seconds": spent.gpu_seconds,
            "spent_cpu_seconds": spent.cpu_seconds,
            "lost_gpu_seconds": lost.gpu_seconds,
            "lost_cpu_seconds": lost.cpu_seconds,
            "attempts": float(len(account.attempts)),
        }
        return figures if spent.money is None else {**figures, "cost": spent.money}

    def bill(self) -> Bill:
        """Of all trials so far."""
        with self._lock:
            accounts, now, prices = list(self._ledger.trials.values()), self._clock(), self._prices
        by_state = {
            state: total(one.used(now, prices) for one in accounts if one.state == state)
            for state in (COMPLETED, PRUNED, "")
        }
        failed = total(one.spent(now, prices) for one in accounts if one.state == FAILED)
        return Bill(
            spent=total(one.spent(now, prices) for one in accounts),
            completed=by_state[COMPLETED],
            pruned=by_state[PRUNED],
            failed=failed,
            faults=total(one.faults(now, prices) for one in accounts if one.state != FAILED),
            running=by_state[""],
            saved=total(one.saved(prices) for one in accounts),
            currency=prices.currency if prices else None,
        )

    def close(self) -> None:
        """Write what is not yet written, and end the thread."""
        self._closing = True
        self._changed.set()
        self._thread.join()

    def _change(self, trial: str, step: Callable[[Account, float], Account]) -> None:
        with self._lock:
            before = self._ledger.trials.get(trial, Account())
            after = step(before, self._clock())
            if after == before:
                return
            self._ledger = Ledger(seen=self._clock(), trials={**self._ledger.trials, trial: after})
        self._changed.set()

    def _keep(self) -> None:
        while not self._closing:
            changed = self._changed.wait(HEARTBEAT_SECONDS)
            self._changed.clear()
            with self._lock:
                running = any(one.running for one in self._ledger.trials.values())
            if changed or running:
                self._write()
        self._write()

    def _write(self) -> None:
        with self._lock:
            content = self._ledger.model_copy(update={"seen": self._clock()}).model_dump_json()
        try:
            storage.put_bytes(content.encode(), self._file)
            self._trouble = ""
        except storage.StorageError as error:  # the search goes on; the next sign of life tries again
            if str(error) != self._trouble:
                log.warning("the costs of the search are not kept at the moment: %s", error)
            self._trouble = str(error)


def _read(file: str) -> Ledger:
    if storage.stat(file) is None:
        return Ledger()
    try:
        return Ledger.model_validate_json(storage.read_bytes(file))
    except ValidationError as error:
        raise AttemptsError(
            f"{file}: not the accounts of a search ({error.error_count()} mistakes in it). Put it aside to go on; what "
            "was spent so far is not counted then"
        ) from error
