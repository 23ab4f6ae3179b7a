"""The HTTP connections of one organisation's lookups: httpx's API on aiohttp's engine, with the holes closed.

What aiohttp does not offer is added here, below httpx: knowing whether a failed exchange used a kept-alive
connection and whether any byte of an answer had come (only if none, a POST may be sent again); knowing that
an answer came before the question was sent, on a kept connection or on a fresh one; a ceiling on the bytes of
a reply of any shape; and closing TLS connections at once instead of waiting for the peer's goodbye.
"""

from __future__ import annotations

import asyncio
import logging
import select
import ssl
import urllib.request
from collections.abc import Sequence
from contextvars import ContextVar
from functools import partial
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from httpx_aiohttp import AiohttpTransport

from streams.lookup.dns import Resolver

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

# httpx logs the URL of every request at INFO. Ours can hold credentials, and a line per lookup helps nobody.
logging.getLogger("httpx").setLevel(logging.WARNING)

KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept. Apache httpd, Node.js and uvicorn drop theirs after 5, most others
later: being first means that a question hardly ever meets a connection that is just being closed."""

HEADS = 32_768
"""Bytes that a reply may have besides its body: all header sections (1xx included) and chunk framing."""

_READ_SIZE = 16_384
"""Bytes of a body that are buffered before reading pauses: what httpx-aiohttp reads at a time."""


class Exchange:
    """What one attempt at a question did on the wire."""

    __slots__ = ("connection", "only_fresh", "protocol", "reused")

    def __init__(self, *, only_fresh: bool) -> None:
        self.only_fresh = only_fresh  # a kept connection has just failed: none of its siblings is trusted
        self.connection: Connection | None = None
        self.protocol: _Protocol | None = None  # outlives the connection object's hold on it
        self.reused = False

    @property
    def went_stale(self) -> bool:
        """The kept-alive connection ended before the first byte of an answer: RFC 9112, 9.3.1 and 9.5.

        A lookup reads and changes nothing, so it may be sent again although it is a POST.
        """
        protocol = self.protocol
        return self.reused and protocol is not None and protocol.heard == 0 and not protocol.is_connected()

    @property
    def answered_unasked(self) -> bool:
        """Bytes had come in before the question was sent: they are no answer to it."""
        return self.protocol is not None and self.protocol.heard_unasked

    @property
    def overflowed(self) -> bool:
        """The reply had more bytes than any reply may have."""
        return self.protocol is not None and self.protocol.overflowed

    def close(self) -> None:
        """Close the connection unless the pool already has it back."""
        if self.connection is not None:
            self.connection.close()


EXCHANGE: ContextVar[Exchange] = ContextVar("EXCHANGE")
"""The exchange that the current task is in: aiohttp has no other way through to its connector."""


class _Protocol(ResponseHandler):
    """A connection that counts the bytes heard since it was last taken, up to a ceiling."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ceiling: int) -> None:
        super().__init__(loop)
        self.taken = 0
        self.heard = 0
        self.heard_unasked = False  # something had come in when the question was sent
        self.overflowed = False
        self._ceiling = ceiling

    def data_received(self, data: bytes) -> None:
        room = self._ceiling - self.heard
        self.heard += len(data)
        if len(data) <= room:
            super().data_received(data)
            return
        if room > 0:
            super().data_received(data[:room])
        # What broke before the ceiling was reached is malformed rather than long.
        self.overflowed = self.exception() is None
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        # asyncio's close() of a TLS connection holds the socket until the peer's close_notify, or for 30 s.
        self.abort()

    @property
    def speaks_unasked(self) -> bool:
        """Something has come in while the connection was idle.

        It is the end of the connection, or an answer that no question belongs to (a second answer to the
        previous one, say). Read as the answer to the next question it would be somebody else's.
        """
        return self.should_close or self.transport is None or _has_unread(self.transport)

    async def settled(self) -> None:
        """Let the event loop read what a fresh connection has brought, up to the first byte of an answer.

        After a TLS handshake that may be session tickets, which are no answer.
        """
        while self.transport is not None and not self.heard and _has_unread(self.transport):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)  # one turn of the event loop reads what is there

    def spoke_first(self) -> bool:
        """The question is about to be sent: note, and return, whether anything came in before it."""
        plain = self.transport is not None and self.transport.get_extra_info("ssl_object") is None
        self.heard_unasked = self.heard > 0 or (plain and self.speaks_unasked)
        return self.heard_unasked


def _has_unread(transport: asyncio.BaseTransport) -> bool:
    readable = select.poll()
    readable.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(readable.poll(0))


class _Request(aiohttp.ClientRequest):
    """A request that looks at its connection in the moment before it is sent."""

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """Send the head, which is kept back until now, and the body; nothing to who has answered already."""
        assert isinstance(conn.protocol, _Protocol)
        if conn.protocol.spoke_first():
            if conn.protocol.transport is not None:
                conn.protocol.transport.abort()
            return
        await super().write_bytes(writer, conn, content_length)


class _Connector(aiohttp.TCPConnector):
    """aiohttp's pool: tells the exchange which connection it got, and hands out none that spoke unasked."""

    def __init__(self, *, ceiling: int, limit: int, ssl_context: ssl.SSLContext | None) -> None:
        super().__init__(
            resolver=Resolver(), limit=limit, keepalive_timeout=KEEP_ALIVE, ssl=ssl_context or True
        )
        # The one private name used: aiohttp offers no other way to hear a connection's bytes (tested).
        self._factory = partial(_Protocol, self._loop, ceiling)  # type: ignore[assignment]  # a narrower partial

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        exchange = EXCHANGE.get()
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert isinstance(protocol, _Protocol)
            if protocol.taken and (exchange.only_fresh or protocol.speaks_unasked):
                connection.close()
                continue
            exchange.connection, exchange.protocol = connection, protocol
            exchange.reused = protocol.taken > 0
            protocol.heard_unasked = True  # what is heard until the question is sent
            if exchange.reused:
                protocol.heard = 0
            else:
                await protocol.settled()
            protocol.taken += 1
            return connection


class _Transport(AiohttpTransport):
    """Drops ``Location``: httpx parses it, and may raise, even where redirects are off."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if 300 <= response.status_code < 400:
            response.headers.pop("location", None)
        return response


class _NoCookies(CookieJar):
    """httpx's jar with the lid on: a lookup has no session, and two people's lookups must not share one."""

    def extract_cookies(self, response: Any, request: urllib.request.Request) -> None:
        """Take none."""


def open_http(*, body_cap: int, connections: int, ssl_context: ssl.SSLContext | None) -> httpx.AsyncClient:
    """An httpx client for one organisation: no redirects, proxies, netrc, cookies or time-outs of its own.

    Args:
        body_cap: bytes a body may have; with ``HEADS`` it makes the ceiling on what is read of a reply.
        connections: sockets open at once, at most.
        ssl_context: whom to trust; without, aiohttp's default (the system's certificate authorities).
    """

    def session() -> aiohttp.ClientSession:  # made at the first request, because it needs the running loop
        return aiohttp.ClientSession(
            connector=_Connector(ceiling=body_cap + HEADS, limit=connections, ssl_context=ssl_context),
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=_Request,
            read_bufsize=_READ_SIZE,
        )

    return httpx.AsyncClient(
        # The transport's own context is not used beside a session; an empty one saves reading the CA bundle.
        transport=_Transport(client=session, verify=ssl_context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)),
        cookies=_NoCookies(),
        follow_redirects=False,
        trust_env=False,
        timeout=None,  # noqa: S113 - httpx's are per operation, so a drip outlives them; the caller has one deadline
    )


def chain(error: BaseException) -> Sequence[BaseException]:
    """The exception and what it was raised ``from``, outermost first."""
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in found:
        found.append(link)
        link = link.__cause__
    return found
