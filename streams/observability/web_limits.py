"""What protects a worker's web port, and the worker's emails from it.

The pages are served by the event loop that sends the emails. All who ask, however often and however slowly,
together get a bounded share of its time and of the process's open files.

A web page of a stranger, open in the browser of somebody who can reach this port, must not read ours. By DNS
rebinding it can: its own name then leads to our address. So a request is answered only if its Host header has
what no stranger can own: an IP address, a name without a dot, a name that public DNS does not have, this
machine's own name, or one that the settings list. Probes and Prometheus ask by such names.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from streams.lookup.rate import RateLimit, RatePolicy

log = logging.getLogger(__name__)

#: The page's own files, and nothing else: no inline script or style, no other origin, no frame around it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

#: Seconds that a connection has for its one request and the answer.
CONNECTION_SECONDS = 10.0
#: Open connections at most; with a low limit of open files, an eighth of that. A further one ends the oldest
#: of the address that has the most, so that a flood from one address ends no probe from another one.
CONNECTIONS = 128
#: Bytes of a request at most. Its head is read, and no body: no page here takes one.
REQUEST_BYTES = 64 << 10
#: Seconds between two lines in the log about too many connections.
FULL_EVERY = 60.0
#: Paths that probes ask for.
PROBES = frozenset({"/livez", "/readyz"})
#: Requests of probes a second at most, and of all else, whose answers are larger; others wait for their turn.
PROBES_PER_SECOND, PAGES_PER_SECOND = 200.0, 30.0
#: So many more at once after a quiet time.
BURST = 20
#: Seconds for which what is rendered of the metrics is given to all who ask.
RENDERING_SECONDS = 1.0
#: Ends of names that nobody can register (RFC 6761, 6762 and 8375, ICANN's .internal, Kubernetes' services).
LOCAL_ENDS = (".localhost", ".local", ".internal", ".svc", ".test", ".home.arpa")


def protect(server: Any, names: Collection[str]) -> None:
    """Bound what a Faust web server, not started yet, takes.

    Args:
        server: ``app.web``.
        names: host names by which its pages may be asked for, besides local ones; in lower case.
    """
    probes, pages = Pace(PROBES_PER_SECOND), Pace(PAGES_PER_SECOND)

    @web.middleware
    async def guarded(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        await (probes if request.path in PROBES else pages).turn()
        # One request a connection: so the connection's time is the request's.
        try:
            if is_answered_to(request.headers.get("Host"), names):
                response = await handler(request)
            else:
                response = web.Response(status=421, text="STREAMS_WEB_HOST_NAMES does not list this name.\n")
        except web.HTTPException as exc:
            exc.force_close()
            raise
        response.force_close()
        return response

    server.web_app.middlewares.append(guarded)
    server.web_app.on_response_prepare.append(_add_headers)
    server._runner = BoundedRunner(server.web_app, access_log=None, shutdown_timeout=1.0)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def is_answered_to(host: str | None, names: Collection[str]) -> bool:
    """Return whether a request with this Host header is answered; one without it is no browser's."""
    if host is None:
        return True
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    if "." not in name or name in names or name.endswith(LOCAL_ENDS):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class Pace:
    """Gives turns, at most so many a second. Who gives up waiting takes none."""

    def __init__(
        self,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Give `per_second` turns a second; `clock` and `sleep` are in seconds, and `clock` is monotonic."""
        self._limit = RateLimit(RatePolicy(per_second, 1 + BURST), clock)
        self._sleep = sleep
        self._queue = asyncio.Lock()  # first come, first served

    async def turn(self) -> None:
        """Wait for a turn; those who came first have theirs first."""
        async with self._queue:
            while not self._limit.take():
                await self._sleep(self._limit.wait())


class SharedRendering:
    """A text that is made anew at most once in :data:`RENDERING_SECONDS`, however many ask for it.

    It is made in the event loop: it reads what the loop's tasks change.
    """

    def __init__(self, render: Callable[[], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        """Make the text by `render`; `clock` is monotonic, in seconds."""
        self._render = render
        self._clock = clock
        self._text = b""
        self._until: float | None = None

    def text(self) -> bytes:
        """Return the text."""
        now = self._clock()
        if self._until is None or now >= self._until:
            self._text, self._until = self._render(), now + RENDERING_SECONDS
        return self._text


def most_connections() -> int:
    """Return how many connections may be open at once under this process's limit of open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files == resource.RLIM_INFINITY else max(8, min(CONNECTIONS, files // 8))


class OneRequest(web.RequestHandler):
    """Reads the head of one request. What comes after it is dropped; too much of it ends the connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what aiohttp's handler takes."""
        super().__init__(*args, **kwargs)
        self._head: bytearray | None = bytearray()  # None: it is whole
        self._received = 0  # bytes

    def data_received(self, data: bytes) -> None:
        """Pass the head on when it is whole; called by asyncio."""
        self._received += len(data)
        if self._received > REQUEST_BYTES and self.transport is not None:
            self.transport.abort()
        elif self._head is not None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end >= 0:
                head, self._head = bytes(self._head[: end + 4]), None
                super().data_received(head)


class BoundedServer(web.Server):
    """Ends a connection that takes too long, and the oldest one for one too many."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what aiohttp's server takes."""
        super().__init__(*args, **kwargs)
        self._most = most_connections()
        self._open: dict[web.RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle, str]] = {}
        self._told_until = 0.0

    def __call__(self) -> web.RequestHandler:
        """Make the handler of a connection; called by asyncio."""
        return OneRequest(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Bound the connection's time; called by aiohttp."""
        super().connection_made(handler, transport)
        if len(self._open) >= self._most:
            self._make_room()
        timer = asyncio.get_running_loop().call_later(CONNECTION_SECONDS, self._end, handler)
        peer = transport.get_extra_info("peername")
        self._open[handler] = transport, timer, peer[0] if peer else ""

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget the connection; called by aiohttp."""
        super().connection_lost(handler, exc)
        if (ended := self._open.pop(handler, None)) is not None:
            ended[1].cancel()

    def _make_room(self) -> None:
        held = Counter(address for _, _, address in self._open.values())
        most = max(held.values())
        self._end(next(handler for handler, (_, _, address) in self._open.items() if held[address] == most))
        now = asyncio.get_running_loop().time()
        if now >= self._told_until:
            self._told_until = now + FULL_EVERY
            log.warning(
                "the web port has %d connections, and more come: the oldest of the address that has the most"
                " is ended for each of them; emails go on",
                self._most,
                extra={"event": "web_port_full"},
            )

    def _end(self, handler: web.RequestHandler) -> None:
        transport, timer, _ = self._open.pop(handler)
        timer.cancel()
        transport.abort()


class BoundedRunner(web.AppRunner):
    """Serves an application by a :class:`BoundedServer`."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return BoundedServer(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=True,  # who has gone waits for no turn
            access_log=None,
            keepalive_timeout=CONNECTION_SECONDS,
            lingering_time=0.0,  # a body never comes
        )
