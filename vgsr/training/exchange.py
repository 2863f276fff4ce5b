"""Where a run's launcher and its workers meet: orders one way, messages the other.

In: orders of the launcher, one after the other; messages of the workers and their controller. Out: each to the other
side, in the order in which they came.
"""

import asyncio
from typing import Any, NamedTuple

import ray

IDLE_SECONDS = 10.0  # that workers wait for another order, with all that they hold


class Message(NamedTuple):
    """kind, content; number: of the order that it is about, None where it is about the workers as such."""

    kind: str
    content: Any
    number: int | None = None


class Exchange:
    """An actor. Its methods run on one event loop, and return before another goes on unless they wait."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._changed = asyncio.Condition()
        self._order: dict[str, Any] = {}
        self._number = self._finished = 0
        self._closed = False
        self._verdict = (0, 0, True)  # order, epoch, whether it goes on

    async def tell(self, message: Message) -> None:
        """Leave a message for the launcher."""
        self._messages.put_nowait(message)

    async def hear(self, seconds: float) -> Message | None:
        """The next message, or None if there is none for so long."""
        if not self._messages.empty():
            return self._messages.get_nowait()
        try:
            return await asyncio.wait_for(self._messages.get(), seconds)
        except TimeoutError:
            return None

    async def give(self, order: dict[str, Any]) -> int | None:
        """Place an order, the one before it being finished: its number, or None where the workers are leaving."""
        if self._closed:
            return None
        async with self._changed:
            self._order, self._number = order, self._number + 1
            self._changed.notify_all()
        return self._number

    async def take(self, after: int) -> tuple[int, dict[str, Any]] | None:
        """The order after that of this number, and its own; None, for every worker from then on, once there was none
        for IDLE_SECONDS. Workers that were started anew (`after` 0) get the unfinished one once more."""
        async with self._changed:
            try:
                if not self._closed:
                    due = self._changed.wait_for(lambda: self._closed or self._number > max(after, self._finished))
                    await asyncio.wait_for(due, IDLE_SECONDS)
            except TimeoutError:
                self._closed = True
                self._changed.notify_all()
            return None if self._closed else (self._number, self._order)

    async def finish(self, number: int) -> None:
        """The first worker has done an order; the launcher hears of it."""
        self._finished = number
        await self.tell(Message("finished", None, number))

    async def judge(self, number: int, epoch: int, go: bool) -> None:
        """The launcher has dealt with a row of an order: whether its run is to go on."""
        async with self._changed:
            self._verdict = number, epoch, go
            self._changed.notify_all()

    async def verdict(self, number: int, epoch: int) -> bool:
        """Waits for the word on a row. No for all rows of an order that is not the last one any more."""

        def known() -> bool:
            about, until, go = self._verdict
            return self._number > number or (about == number and (until >= epoch or not go))

        async with self._changed:
            await self._changed.wait_for(known)
            return self._number == number and self._verdict[2]


def start(scheduling: Any) -> Any:
    """A new one, which takes no resources; it is gone once nobody has its handle."""
    actor: Any = ray.remote(Exchange)
    return actor.options(num_cpus=0, scheduling_strategy=scheduling, max_concurrency=1000).remote()
