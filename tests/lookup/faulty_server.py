"""A lookup service on a real socket that misbehaves to order.

A *behaviour* is a coroutine function that gets a ``Call`` and does with its socket what it likes. When it
returns, the connection is kept if it said so and closed otherwise. Every connection and request is counted,
so that a test can say what the service saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

SUBSCRIBED = b'{"privacy":{"optIn":true}}'
NOT_SUBSCRIBED = b"{}"


@dataclass
class Call:
    """One request as it arrived, and the means to answer it."""

    server: FaultyServer
    head: bytes
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    keep: bool = False  # whether the connection outlives the behaviour

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection with RST rather than FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[Call], Awaitable[None]]


def response(
    body: bytes = SUBSCRIBED,
    *,
    status: bytes = b"200 OK",
    headers: tuple[bytes, ...] = (),
    length: bool = True,
) -> bytes:
    """A well-formed HTTP/1.1 response, unless the arguments make it something else."""
    lines = [b"HTTP/1.1 " + status, b"Content-Type: application/json", *headers]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def says(*parts: bytes, keep: bool = False) -> Behaviour:
    """Send these bytes, and nothing else."""

    async def behave(call: Call) -> None:
        await call.send(*parts)
        call.keep = keep

    return behave


def healthy(body: bytes = SUBSCRIBED) -> Behaviour:
    """Answer as a lookup should, and keep the connection."""
    return says(response(body), keep=True)


async def hang(call: Call) -> None:
    """Say nothing until the client goes away."""
    await call.reader.read()


def then_hang(*parts: bytes) -> Behaviour:
    """Send these bytes and then nothing, with the connection open."""

    async def behave(call: Call) -> None:
        await call.send(*parts)
        await hang(call)

    return behave


def drip(prefix: bytes, drop: bytes, every: float) -> Behaviour:
    """Send ``prefix``, then ``drop`` again and again, ``every`` so many seconds, for ever."""

    async def behave(call: Call) -> None:
        await call.send(prefix)
        while True:
            await call.send(drop)
            await asyncio.sleep(every)

    return behave


def flood(prefix: bytes, block: bytes) -> Behaviour:
    """Send ``prefix``, then ``block`` again and again as fast as the client takes it, for ever."""
    return drip(prefix, block, 0)


async def drops(call: Call) -> None:
    """Close the connection without a word."""


async def resets(call: Call) -> None:
    """Reset the connection without a word."""
    call.reset()


def then_reset(*parts: bytes) -> Behaviour:
    """Send these bytes, let them arrive, and reset the connection."""

    async def behave(call: Call) -> None:
        await call.send(*parts)
        await asyncio.sleep(0.05)  # RST overtakes what the peer has not read yet
        call.reset()

    return behave


def then_drop(*parts: bytes) -> Behaviour:
    """Send these bytes and close the connection."""
    return says(*parts)


@dataclass
class FaultyServer:
    """Listens on 127.0.0.1 while its context is open; what it does may be changed at any time."""

    behaviour: Behaviour = field(default_factory=healthy)
    greeting: Behaviour | None = None  # what is done with a new connection, before any request is read
    tls: ssl.SSLContext | None = None
    port: int = 0
    connections: int = 0
    open_now: int = 0
    most_open: int = 0
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    asked: asyncio.Event = field(
        default_factory=asyncio.Event
    )  # set by each request; cleared by whoever waits
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/lookup"

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[FaultyServer]:
        server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self.tls, backlog=1024, limit=2**20
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                if self.greeting is not None:
                    await self.greeting(Call(self, b"", b"", reader, writer))
                else:
                    while await self._answer(reader, writer):
                        pass
        finally:
            self.open_now -= 1
            self._serving.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        call = Call(self, head, await reader.readexactly(length), reader, writer)
        self.requests.append((call.head, call.body))
        self.asked.set()
        await self.behaviour(call)
        return call.keep
