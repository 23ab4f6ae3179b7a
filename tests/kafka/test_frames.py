"""Answers, however the network cuts them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from struct import pack
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import conn
from aiokafka.errors import KafkaConnectionError
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.frames import _LARGE_ROOM, _ROOM, Frames, read_frames


class Connection:
    """What aiokafka's has of this."""

    def __init__(self, fails_at: int | None = None) -> None:
        self._reader = asyncio.StreamReader(loop=asyncio.new_event_loop())
        self._reader._loop.close()
        self._fails_at = fails_at
        self.frames: list[bytes] = []

    def _handle_frame(self, frame: bytes) -> None:
        if len(self.frames) == self._fails_at:
            raise ValueError("no answer")
        self.frames.append(bytes(frame))


def feed(frames: Frames, sent: bytes, cuts: list[int]) -> None:
    """Let bytes arrive as a transport does, with at most so many of them at a time, in turn."""
    at = turn = 0
    while at < len(sent):
        room = frames.get_buffer(-1)
        count = min(len(room), cuts[turn % len(cuts)], len(sent) - at)
        room[:count] = sent[at : at + count]
        frames.buffer_updated(count)
        at, turn = at + count, turn + 1


def framed(*answers: bytes) -> bytes:
    return b"".join(pack(">i", len(answer)) + answer for answer in answers)


def begun(connection: Connection) -> Frames:
    return Frames(connection, SimpleNamespace())  # type: ignore[arg-type]  # nothing of it is used


SIZES = st.integers(0, 40) | st.integers(_ROOM - 8, _ROOM + 8) | st.integers(0, 3 * _ROOM)


@given(st.lists(SIZES, min_size=1, max_size=6), st.lists(st.integers(1, 2 * _ROOM), min_size=1, max_size=9))
def test_each_answer_is_whole_and_in_its_order(sizes: list[int], cuts: list[int]) -> None:
    """Small and large ones, however the bytes are cut."""
    answers = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    connection = Connection()
    feed(begun(connection), framed(*answers), cuts if max(cuts) > 99 else [*cuts, 4_096])
    assert connection.frames == answers


@pytest.mark.parametrize("size", [_LARGE_ROOM - 1, _LARGE_ROOM, _LARGE_ROOM + 1, 5 * _LARGE_ROOM + 7])
def test_a_buffer_grows_with_what_has_come(size: int) -> None:
    """A frame of any size is whole, also one that comes after a larger one."""
    answers = [bytes(range(256)) * (size // 256 + 1), b"next", b"x" * 2 * _ROOM, b"last"]
    connection = Connection()
    feed(begun(connection), framed(*answers), [1 << 18])
    assert connection.frames == answers


def test_a_size_that_somebody_claims_takes_no_memory() -> None:
    """Whoever answers with something else than a frame, as a web server does, costs a megabyte."""
    frames = begun(Connection())
    feed(frames, b"HTTP/1.1 400 Bad Request\r\n", [100])
    assert len(frames.get_buffer(-1)) <= _LARGE_ROOM


@pytest.mark.parametrize("sent", [pack(">i", -1) + framed(b"later"), framed(b"one", b"two", b"later")])
async def test_what_cannot_be_taken_ends_the_reading(sent: bytes) -> None:
    """A frame without a possible size, or one that its request cannot read; nothing after it counts."""
    connection = Connection(fails_at=1)
    frames = begun(connection)
    feed(frames, sent, [len(sent)])
    assert b"later" not in connection.frames
    assert isinstance(connection._reader.exception(), ValueError)


def test_a_connection_that_nobody_has_any_more_is_let_go() -> None:
    """As with aiokafka's own reading, so that it can close itself."""
    connection = Connection()
    frames = begun(connection)
    gone = weakref.ref(connection)
    del connection
    gc.collect()
    assert gone() is None
    feed(frames, framed(b"answer"), [100])


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]

#: What an ApiVersions request of version 0 is answered: no error, and one request that is known.
VERSIONS = pack(">hi", 0, 1) + pack(">hhh", 18, 0, 0)


@asynccontextmanager
async def connected(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A connection of aiokafka to a server that says which requests it knows, and then does as `answer`."""
    monkeypatch.setattr(conn.AIOKafkaConnection, "_create_reader_task", None)
    read_frames()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4), "big")
        request = await reader.readexactly(size)
        writer.write(framed(request[4:8] + VERSIONS))
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        connection = await conn.create_conn(host, port)
        try:
            yield connection
        finally:
            connection.close()


async def test_a_real_connection_reads_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is sent after the look-up of versions gets its answer, in pieces or not."""

    async def in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4), "big")
        request = await reader.readexactly(size)
        for byte in framed(request[4:8] + VERSIONS):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    async with asyncio.timeout(30), connected(in_pieces, monkeypatch) as connection:
        answer = await connection.send(conn.ApiVersionRequest())
        assert answer.api_versions == [(18, 0, 0)]


@pytest.mark.parametrize("how", ["ends", "breaks"])
async def test_a_connection_that_ends_closes_and_its_requests_fail(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with aiokafka's own reading, whether it ends in order or not."""

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        if how == "breaks":
            writer.transport.abort()

    async with asyncio.timeout(30), connected(leave, monkeypatch) as connection:
        with pytest.raises(KafkaConnectionError):
            await connection.send(conn.ApiVersionRequest())
        assert not connection.connected()
