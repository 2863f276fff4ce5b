"""The accounts of a search: attempts of trials and what became of them, as plain values and without a clock.

In: events with their times. Out: costs. An attempt is one worker group, from the moment its workers entered the
training loop (`facts["entered"]`) to its end. What lies before it, the wait for a node and the start of its processes,
is not counted, and neither are idle nodes, the head, or the drivers of trials.

Our definitions. Of an attempt, the seconds up to the end of its last epoch (training and validation) are safe: the next
attempt goes on from there. They include its start-up, also where it went on from a checkpoint: that is overhead, and
counts as spent on its trial. The seconds after it are lost where the attempt ended before its trial did. With
checkpoints within an epoch this is an upper bound: part of those seconds was safe too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from vgsr.config import Part
from vgsr.search.prices import MACHINE, MARKET, Prices

COMPLETED, PRUNED, FAILED = "completed", "pruned", "failed"


class Cost(Part):
    """Seconds of reserved resources; money in the price list's currency, None where a price is not known."""

    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0
    money: float | None = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        known = self.money is not None and other.money is not None
        return Cost(
            gpu_seconds=self.gpu_seconds + other.gpu_seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            money=self.money + other.money if known else None,  # type: ignore[operator]
        )


class Worker(Part):
    """What a worker reserves, and the labels of its node that its price depends on."""

    cpus: float
    gpus: float
    labels: Mapping[str, str] = Field(default_factory=dict)


class Attempt(Part):
    """One worker group. Times are Unix seconds; `safe` counts from `entered`. `ended` is None while it runs."""

    attempt: str
    entered: float
    workers: tuple[Worker, ...]
    safe: float = 0.0
    ended: float | None = None

    def close(self, at: float) -> "Attempt":
        """The same, ended; never before the last epoch that it is known to have ended."""
        return self.model_copy(update={"ended": max(at, self.entered + self.safe)})

    def worked(self, seconds: float) -> "Attempt":
        """The same, with an epoch that ended so long after its entry. Of one that was closed: it lived for longer than
        its driver knew."""
        after = self.model_copy(update={"safe": max(self.safe, seconds)})
        return after if after.ended is None else after.close(after.ended)

    def cost(self, seconds: float, prices: Prices | None) -> Cost:
        """So many seconds of its workers."""
        hours = [prices.hour(one.labels, one.cpus, one.gpus) if prices else None for one in self.workers]
        known = [hour for hour in hours if hour is not None]
        return Cost(
            gpu_seconds=seconds * sum(one.gpus for one in self.workers),
            cpu_seconds=seconds * sum(one.cpus for one in self.workers),
            money=sum(known) * seconds / 3600 if len(known) == len(hours) else None,
        )


class Account(Part):
    """A trial: its attempts, the last epoch it has ended, and its end."""

    attempts: tuple[Attempt, ...] = ()
    epoch: int = 0
    epoch_seconds: float = 0.0  # of an epoch with its validation, mean over those so far
    state: str = ""  # "" while it is not over
    left: float = 0.0  # epochs that it did not run, each of the mean length of those that it did

    @property
    def running(self) -> bool:
        """Whether there are workers now."""
        return bool(self.attempts) and self.attempts[-1].ended is None

    def started(self, facts: Mapping[str, Any], now: float) -> "Account":
        """With a new attempt. One that was still open ended when the new one began at the latest."""
        if any(one.attempt == facts["attempt"] for one in self.attempts):  # said twice
            return self
        entered = float(facts["entered"])
        workers = tuple(
            Worker(
                cpus=one["cpus"],
                gpus=one["gpus"],
                labels={key: one["labels"][key] for key in (MACHINE, MARKET) if key in one["labels"]},
            )
            for one in facts["workers"]
        )
        before = self.lost(min(now, entered)).attempts
        new = Attempt(attempt=facts["attempt"], entered=entered, workers=workers)
        # A trial whose end Tune forgot with its driver goes on once more.
        return self._with(attempts=(*before, new), state="", left=0.0)

    def row(self, row: Mapping[str, Any]) -> "Account":
        """With an epoch that has ended. An attempt reports the last epoch of the one before it again, under its id."""
        attempts = tuple(
            one.worked(float(row["attempt_seconds"])) if one.attempt == row.get("attempt") else one
            for one in self.attempts
        )
        if "total_seconds" not in row:  # diverged in its first epoch
            return self._with(attempts=attempts)
        epoch = max(self.epoch, int(row["epoch"]))
        return self._with(attempts=attempts, epoch=epoch, epoch_seconds=row["total_seconds"] / row["epoch"])

    def lost(self, now: float) -> "Account":
        """With its workers gone."""
        return self._with(attempts=(*self.attempts[:-1], self.attempts[-1].close(now))) if self.running else self

    def ended(self, state: str, crops: Sequence[float], now: float) -> "Account":
        """At its end; what runs until then is no loss. crops: their seconds in each epoch that it would have had."""
        attempts = self.attempts
        if self.running:
            last = attempts[-1].close(max(now, attempts[-1].entered))
            attempts = (*attempts[:-1], last.model_copy(update={"safe": (last.ended or now) - last.entered}))
        done = crops[: self.epoch]
        left = sum(crops[self.epoch :]) / (sum(done) / len(done)) if done else 0.0
        return self._with(attempts=attempts, state=state, left=left)

    def spent(self, now: float, prices: Prices | None) -> Cost:
        """All of its attempts; one that runs, until now."""
        return total(one.cost(_seconds(one, now), prices) for one in self.attempts)

    def faults(self, now: float, prices: Prices | None) -> Cost:
        """Of what is spent, the part that was lost with attempts that ended before it did."""
        over = [one for one in self.attempts if one.ended is not None]
        return total(one.cost(_seconds(one, now) - one.safe, prices) for one in over)

    def used(self, now: float, prices: Prices | None) -> Cost:
        """Of what is spent, all the rest."""
        return total(one.cost(_seconds(one, now) if one.ended is None else one.safe, prices) for one in self.attempts)

    def saved(self, prices: Prices | None) -> Cost:
        """By pruning: the epochs it did not run, at its own mean speed, on the workers that it had last."""
        if self.state != PRUNED or not self.attempts:
            return Cost()
        return self.attempts[-1].cost(self.left * self.epoch_seconds, prices)

    def _with(self, **changes: Any) -> "Account":
        return self.model_copy(update=changes)


class Ledger(Part):
    """All trials of a search. `seen`: when its driver was last known to be alive."""

    seen: float = 0.0
    trials: Mapping[str, Account] = Field(default_factory=dict)

    def resumed(self) -> "Ledger":
        """As a new driver finds it: whatever ran when the last one was seen has ended then, and is lost."""
        return Ledger(seen=self.seen, trials={name: one.lost(self.seen) for name, one in self.trials.items()})


def total(costs: Iterable[Cost]) -> Cost:
    """Their sum; its money is None where one of them has none, and not all of them are nothing."""
    return sum((one for one in costs if one != Cost(money=None)), Cost())


def _seconds(attempt: Attempt, now: float) -> float:
    return (max(now, attempt.entered) if attempt.ended is None else attempt.ended) - attempt.entered
