"""The exchange without Ray: its methods on one event loop, as the actor has it."""

import asyncio
import random

import pytest

from vgsr.training import exchange
from vgsr.training.exchange import Exchange, Message


@pytest.fixture
def soon(monkeypatch):
    """Workers lose their patience at once."""
    monkeypatch.setattr(exchange, "IDLE_SECONDS", 0.05)


def test_messages_come_in_their_order_and_none_is_lost():
    async def play():
        ours = Exchange()
        assert await ours.hear(0.01) is None
        waiting = asyncio.create_task(ours.hear(5))
        await asyncio.sleep(0.01)
        for number in range(100):
            await ours.tell(Message("step", number))
        assert (await waiting).content == 0
        assert [(await ours.hear(0)).content for _ in range(99)] == list(range(1, 100))
        assert await ours.hear(0) is None

    asyncio.run(play())


def test_workers_that_are_started_anew_get_the_unfinished_order_again():
    async def play():
        ours = Exchange()
        assert await ours.give({"name": "one"}) == 1
        assert [await ours.take(0) for _ in range(3)] == [(1, {"name": "one"})] * 3
        await ours.finish(1)
        anew, same = asyncio.create_task(ours.take(0)), asyncio.create_task(ours.take(1))
        await asyncio.sleep(0.01)
        assert not anew.done() and not same.done()
        assert await ours.give({"name": "two"}) == 2
        assert await anew == await same == (2, {"name": "two"})

    asyncio.run(play())


def test_without_an_order_all_workers_leave_and_none_is_taken_any_more(soon):
    async def play():
        ours = Exchange()
        await ours.give({})
        await ours.take(0)
        await ours.finish(1)
        first = asyncio.create_task(ours.take(1))
        await asyncio.sleep(0.03)  # the second is later, and leaves with the first
        assert await asyncio.gather(first, ours.take(1)) == [None, None]
        assert await ours.give({}) is None and await ours.take(0) is None

    asyncio.run(play())


def test_a_verdict_is_on_rows_of_its_order_alone():
    async def play():
        ours = Exchange()
        await ours.give({})
        second = asyncio.create_task(ours.verdict(1, 2))
        await ours.judge(1, 1, True)
        assert await ours.verdict(1, 1)
        await asyncio.sleep(0.01)
        assert not second.done()
        await ours.judge(1, 2, True)
        assert await second
        assert await ours.verdict(1, 1)  # workers that were started anew say a row once more
        await ours.judge(1, 3, False)
        assert not await ours.verdict(1, 3)
        assert not await ours.verdict(1, 4)
        await ours.give({})
        assert not await ours.verdict(1, 5)  # of an order that is over
        waiting = asyncio.create_task(ours.verdict(2, 1))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await ours.judge(2, 1, True)
        assert await waiting

    asyncio.run(play())


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_first_every_worker_does_every_order_up_to_its_last_epoch(seed):
    """Orders of 4 epochs, some stopped by the launcher, by 1 to 3 workers in lockstep with random pauses."""
    chance = random.Random(seed)
    world, orders = 1 + seed % 3, 8
    until = [chance.choice([1, 2, 4]) for _ in range(orders)]
    done: list[list[tuple[int, int]]] = [[] for _ in range(world)]
    heard: list[tuple[int, int]] = []

    async def pause():
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    async def worker(ours, rank, barrier, said):
        number = 0
        while number < orders:
            number, _ = await ours.take(number)
            for epoch in range(1, 5):
                await pause()
                await barrier()
                done[rank].append((number, epoch))
                if rank == 0:
                    await ours.tell(Message("row", epoch, number))
                    said[number, epoch] = await ours.verdict(number, epoch)
                await barrier()
                if not said[number, epoch]:
                    break
            if rank == 0:
                await ours.finish(number)

    async def launcher(ours):
        for last in until:
            number = await ours.give({})
            while True:
                message = await ours.hear(5)
                if message.number != number:
                    continue
                if message.kind == "finished":
                    break
                heard.append((number, message.content))
                await pause()
                await ours.judge(number, message.content, message.content < last)
                if message.content >= last:
                    break  # the next order is given before this one is finished

    async def play():
        ours, said, arrived, changed = Exchange(), {}, [0], asyncio.Condition()

        async def barrier():
            async with changed:
                arrived[0] += 1
                until_all = -(-arrived[0] // world) * world
                changed.notify_all()
                await changed.wait_for(lambda: arrived[0] >= until_all)

        workers = [worker(ours, rank, barrier, said) for rank in range(world)]
        await asyncio.wait_for(asyncio.gather(launcher(ours), *workers), 20)

    asyncio.run(play())
    wanted = [(number, epoch) for number, last in enumerate(until, 1) for epoch in range(1, last + 1)]
    assert heard == wanted and all(each == wanted for each in done)
