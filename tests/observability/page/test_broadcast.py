"""One text to many listeners."""

from __future__ import annotations

import asyncio

import pytest

from streams.observability.page.broadcast import Broadcast, Full, event


async def next_of(listener: object) -> bytes:
    return await asyncio.wait_for(anext(aiter(listener)), 5)  # type: ignore[call-overload]  # a Listener


def test_an_event_is_a_name_and_one_line() -> None:
    """As the HTML standard has it: the empty line ends the event."""
    assert event("present", b'{"a":1}') == b'event: present\ndata: {"a":1}\n\n'


async def test_everybody_gets_every_text_in_order() -> None:
    """Two listeners get the same texts; one that joins later, those from then on."""
    broadcast = Broadcast()
    first, second = broadcast.join(), broadcast.join()
    broadcast.tell(b"1")
    late = broadcast.join()
    broadcast.tell(b"2")
    assert [await next_of(first), await next_of(first)] == [b"1", b"2"]
    assert [await next_of(second), await next_of(second)] == [b"1", b"2"]
    assert await next_of(late) == b"2"


async def test_there_are_only_so_many_listeners() -> None:
    """One too many is refused, until somebody leaves."""
    broadcast = Broadcast(most=2)
    first = broadcast.join()
    broadcast.join()
    with pytest.raises(Full):
        broadcast.join()
    broadcast.leave(first)
    broadcast.leave(first)
    broadcast.join()
    assert len(broadcast) == 2


async def test_who_falls_behind_is_cut_off_and_nobody_else() -> None:
    """A listener that takes nothing is let go when it is so many texts behind; its place is free."""
    broadcast = Broadcast(behind=3)
    slow, brisk = broadcast.join(), broadcast.join()
    for number in range(5):
        broadcast.tell(b"%d" % number)
        assert await next_of(brisk) == b"%d" % number
    assert slow.cut.is_set()
    assert not brisk.cut.is_set()
    assert len(broadcast) == 1
    assert [text async for text in slow] == []


async def test_silence_is_broken_by_a_sign_of_life() -> None:
    """A listener that hears nothing gets a comment, which no browser shows."""
    listener = Broadcast(heartbeat=0.01).join()
    assert (await next_of(listener)).startswith(b":")


async def test_the_end_lets_everybody_go() -> None:
    """A listener that waits is woken, and told that this was all; nobody can join any more."""
    broadcast = Broadcast()
    listener = broadcast.join()

    async def listen() -> list[bytes]:
        return [text async for text in listener]

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    broadcast.end()
    assert await asyncio.wait_for(listening, 5) == []
    with pytest.raises(Full):
        broadcast.join()
    assert len(broadcast) == 0
