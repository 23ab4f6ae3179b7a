"""Commit slots: how many transactions a worker has under way at once."""

import asyncio

import pytest

from streams.delivery.commit_slots import CommitSlots


async def test_a_free_turn_is_had_at_once() -> None:
    """A lane that is alone waits for nothing."""
    slots = CommitSlots(at_once=1, rest=60, longest=60)
    async with asyncio.timeout(1), slots.slot():
        pass


async def test_no_more_than_so_many_at_once_first_come_first_served() -> None:
    """Lanes that have to wait get their slot in the order in which they asked."""
    slots = CommitSlots(at_once=2, rest=0.0)
    under_way, most = 0, 0
    order: list[int] = []

    async def commit(number: int) -> None:
        nonlocal under_way, most
        async with slots.slot():
            order.append(number)
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

    await asyncio.gather(*map(commit, range(20)))
    assert order == list(range(20))
    assert most == 2


async def test_a_turn_rests_before_it_is_handed_out_again() -> None:
    """The event loop has some time for all else between two transactions."""
    slots = CommitSlots(at_once=1, rest=0.05)
    loop = asyncio.get_running_loop()
    async with slots.slot():
        pass
    ended = loop.time()
    async with slots.slot():
        assert loop.time() - ended >= 0.049


async def test_a_transaction_that_hangs_does_not_hold_up_the_others_for_ever() -> None:
    """A slot that is held too long is handed on, once, and not once more when its transaction ends."""
    slots = CommitSlots(at_once=1, rest=0.0, longest=0.01)
    done = asyncio.Event()

    async def hang() -> None:
        async with slots.slot():
            await done.wait()

    hanging = asyncio.create_task(hang())
    await asyncio.sleep(0)
    async with asyncio.timeout(5), slots.slot():
        done.set()
        await hanging
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005), slots.slot():
                pytest.fail("a second slot where there is one")


@pytest.mark.parametrize("failure", [RuntimeError, asyncio.CancelledError])
async def test_a_turn_is_given_back_whatever_happens(failure: type[BaseException]) -> None:
    """Neither a failed transaction nor a closed lane takes its slot along."""
    slots = CommitSlots(at_once=1, rest=0.0)
    with pytest.raises(failure):
        async with slots.slot():
            raise failure
    async with asyncio.timeout(1), slots.slot():
        pass


async def test_who_no_longer_waits_takes_no_turn() -> None:
    """A lane that is closed while it waits leaves the slot to the next one."""
    slots = CommitSlots(at_once=1, rest=0.0)
    taken = asyncio.Event()

    async def commit() -> None:
        async with slots.slot():
            taken.set()

    async with slots.slot():
        gone, next_one = asyncio.create_task(commit()), asyncio.create_task(commit())
        await asyncio.sleep(0)
        gone.cancel()
    async with asyncio.timeout(1):
        await taken.wait()
        await next_one
