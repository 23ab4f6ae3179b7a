"""The HTTP connections of one organisation's lookups: aiohttp's pool and parser, with no client around them.

A client does much for each request that a lookup must not have: redirects, proxies, netrc, cookies, time-outs
for each operation, a second attempt. So neither aiohttp's session nor httpx's client is used: they would take
most of a lookup's CPU time. Answers are httpx's ``Response``.

What aiohttp does not offer is added here: knowing whether a failed exchange used a kept-alive connection and
whether any byte of an answer had come (only if none, a POST may be sent again); knowing that an answer came
before the question was sent, on a kept connection or on a fresh one; a ceiling on the bytes of a reply of any
shape; and closing TLS connections at once instead of waiting for the peer's goodbye.
"""

from __future__ import annotations

import asyncio
import re
import select
import ssl
from collections.abc import AsyncIterator, Sequence
from functools import partial

import aiohttp
import httpx
import yarl
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.streams import StreamReader

from streams.lookup.dns import Resolver

KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept. Apache httpd, Node.js and uvicorn drop theirs after 5, most others
later: being first means that a question hardly ever meets a connection that is just being closed."""

HEADS = 32_768
"""Bytes that a reply may have besides its body: all header sections (1xx included) and chunk framing."""

_READ_SIZE = 16_384
"""Bytes of a body that are buffered before reading pauses."""

_NO_TIME_OUTS = aiohttp.ClientTimeout()
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header may have (RFC 9110, 5.5): it could end the header, and begin another one."""


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
    def overflowed(self) -> bool:
        """The reply had more bytes than any reply may have."""
        return self.protocol is not None and self.protocol.overflowed

    def close(self) -> None:
        """Close the connection unless the pool already has it back."""
        if self.connection is not None:
            self.connection.close()


class _Protocol(ResponseHandler):
    """A connection that counts the bytes heard since it was last taken, up to a ceiling."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ceiling: int) -> None:
        super().__init__(loop)
        self.taken = 0
        self.heard = 0
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


def _has_unread(transport: asyncio.BaseTransport) -> bool:
    readable = select.poll()
    readable.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(readable.poll(0))


class _Body(httpx.AsyncByteStream):
    """A reply's body, in pieces as they come in."""

    def __init__(self, payload: StreamReader) -> None:
        self._payload = payload

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._payload.iter_any()


class _Connector(aiohttp.TCPConnector):
    """aiohttp's pool, of connections that count what they hear."""

    def __init__(self, *, ceiling: int, limit: int, ssl_context: ssl.SSLContext | None) -> None:
        super().__init__(
            resolver=Resolver(), limit=limit, keepalive_timeout=KEEP_ALIVE, ssl=ssl_context or True
        )
        # The one private name used: aiohttp offers no other way to hear a connection's bytes (tested).
        self._factory = partial(_Protocol, self._loop, ceiling)  # type: ignore[assignment]  # a narrower partial


class Connections:
    """The connections to one organisation's service, and the questions that are sent over them.

    Args:
        url: where each question goes.
        headers: what each question has, besides ``Host`` and ``Content-Length``.
        body_cap: bytes a body may have; with ``HEADS`` it makes the ceiling on what is read of a reply.
        most: sockets open at once, at most.
        ssl_context: whom to trust; without, aiohttp's default (the system's certificate authorities).

    Raises:
        ValueError: a header holds a control character.
    """

    def __init__(
        self,
        url: httpx.URL,
        headers: httpx.Headers,
        *,
        body_cap: int,
        most: int,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._url = url
        self._headers = b"".join(b"%s: %s\r\n" % (name.lower(), value) for name, value in headers.raw)
        if any(_CONTROL.search(value) for _, value in headers.raw):
            raise ValueError("a header holds a control character")
        self._connector_of = partial(
            _Connector, ceiling=body_cap + HEADS, limit=most, ssl_context=ssl_context
        )
        self._connector: _Connector | None = None  # made for the first question: it needs the running loop
        self._closed = False

    async def post(self, body: bytes, exchange: Exchange) -> httpx.Response:
        """Send one question, once, and return the answer when its head is there; its stream is the body.

        The connection is the pool's again when the whole answer is there. Until then ``exchange.close``
        closes it. No time-out is kept here.

        Raises:
            httpx.RemoteProtocolError: the service ended a fresh connection, or said something on it, before
                the question was sent. What it said is no answer.
            Exception: whatever aiohttp raises where there is no connection or no answer.
        """
        protocol = await self._take(exchange)
        assert protocol.transport is not None
        protocol.set_response_params(read_until_eof=True, auto_decompress=False, read_bufsize=_READ_SIZE)
        protocol.transport.write(b"%s%d\r\n\r\n%s" % (self._head, len(body), body))
        message, payload = await protocol.read()
        while 100 <= message.code < 200 and message.code != 101:  # interim ones (RFC 9110, 15.2)
            message, payload = await protocol.read()
        if exchange.connection is not None and not protocol.upgraded:
            payload.on_eof(exchange.connection.release)
        return httpx.Response(
            message.code,
            headers=message.raw_headers,
            stream=_Body(payload),
            extensions={"reason_phrase": message.reason.encode()},
        )

    async def aclose(self) -> None:
        """Close every connection at once. Questions under way fail, and so do later ones."""
        self._closed = True
        if self._connector is not None:
            await self._connector.close()

    async def _take(self, exchange: Exchange) -> _Protocol:
        """Take a connection on which nothing has come in yet that could be read as the answer.

        A kept one is looked at in the moment before the question is sent: nothing is awaited in between.
        """
        connector = self._opened()
        while True:
            connection = await connector.connect(self._target, [], _NO_TIME_OUTS)
            protocol = connection.protocol
            assert isinstance(protocol, _Protocol)
            if protocol.taken and (exchange.only_fresh or protocol.speaks_unasked):
                connection.close()
                continue
            exchange.connection, exchange.protocol = connection, protocol
            exchange.reused = protocol.taken > 0
            protocol.taken += 1
            if exchange.reused:
                protocol.heard = 0
                return protocol
            await protocol.settled()
            if protocol.heard or not protocol.is_connected():
                raise httpx.RemoteProtocolError("the service did not wait for the question")
            return protocol

    def _opened(self) -> _Connector:
        if self._closed:
            raise RuntimeError("the connections are closed")
        if self._connector is None:
            try:
                url = yarl.URL(str(self._url))
            except ValueError as error:
                raise aiohttp.InvalidURL("") from error  # without the URL, which may hold credentials
            self._connector = self._connector_of()
            # It only says where to connect to, and is never sent.
            self._target = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop())
            self._head = b"POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: " % (
                url.raw_path_qs.encode("ascii"),
                self._target.headers["Host"].encode("ascii"),
                self._headers,
            )
        return self._connector


def chain(error: BaseException) -> Sequence[BaseException]:
    """The exception and what it was raised ``from``, outermost first."""
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in found:
        found.append(link)
        link = link.__cause__
    return found
