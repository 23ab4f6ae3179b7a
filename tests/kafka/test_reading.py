"""Large answers, read in pieces."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from streams.kafka.reading import read_exactly, read_in_pieces

LIMIT = 16


def reader() -> Any:
    return asyncio.StreamReader(limit=LIMIT)


def read(source: Any, count: int) -> asyncio.Task[bytes]:
    return asyncio.create_task(read_exactly(source, source.readexactly, count))


async def test_an_answer_that_comes_in_pieces_is_whole_and_the_next_one_starts_where_it_ends() -> None:
    """However the bytes are cut, each reading gets its own, in order."""
    source = reader()
    first = read(source, 40)
    for piece in (b"a" * 3, b"b" * 30, b"c" * 17):
        source.feed_data(piece)
        await asyncio.sleep(0)
    assert await first == b"a" * 3 + b"b" * 30 + b"c" * 7
    source.feed_data(b"d" * 20)
    assert await read(source, 4) == b"c" * 4
    assert await read(source, 26) == b"c" * 6 + b"d" * 20


async def test_what_was_there_before_counts() -> None:
    """An answer that has come already is read without waiting."""
    source = reader()
    source.feed_data(bytes(range(50)))
    assert await read(source, 49) == bytes(range(49))
    assert await read(source, 1) == bytes([49])


async def test_a_connection_that_ends_too_early_says_what_had_come() -> None:
    """As the stock method has it."""
    source = reader()
    reading = read(source, 40)
    source.feed_data(b"x" * 30)
    source.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError) as raised:
        await reading
    assert (raised.value.partial, raised.value.expected) == (b"x" * 30, 40)


@pytest.mark.parametrize("before", [True, False], ids=["before", "meanwhile"])
async def test_a_connection_that_breaks_says_why(before: bool) -> None:
    """Its error is raised, whenever it came."""
    source = reader()
    if before:
        source.set_exception(ConnectionResetError())
    reading = read(source, 40)
    await asyncio.sleep(0)
    if not before:
        source.set_exception(ConnectionResetError())
    with pytest.raises(ConnectionResetError):
        await reading


async def test_a_transport_that_was_told_to_wait_goes_on() -> None:
    """More than the reader has room for pauses the transport; reading resumes it."""
    calls: list[str] = []
    source = reader()
    source.set_transport(
        SimpleNamespace(
            pause_reading=lambda: calls.append("pause"), resume_reading=lambda: calls.append("resume")
        )
    )
    source.feed_data(b"x" * 3 * LIMIT)
    assert calls == ["pause"]
    reading = read(source, 4 * LIMIT)
    await asyncio.sleep(0)
    assert calls == ["pause", "resume"]
    source.feed_data(b"x" * LIMIT)
    assert await reading == b"x" * 4 * LIMIT


async def test_every_connection_of_a_client_reads_so_once() -> None:
    """Connections are adapted when they are handed out; one that could not be made is passed on as None."""
    connections: dict[int, Any] = {1: SimpleNamespace(_reader=reader()), 2: None}

    async def connect(node: int) -> Any:
        return connections[node]

    client = SimpleNamespace(_get_conn=connect)
    read_in_pieces(client)
    connection = await client._get_conn(1)
    adapted = connection._reader.readexactly
    assert (await client._get_conn(1))._reader.readexactly is adapted
    assert await client._get_conn(2) is None
    connection._reader.feed_data(b"x" * 40)
    assert await adapted(40) == b"x" * 40
