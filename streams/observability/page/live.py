"""The live page over HTTP: three files, and a stream of server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from typing import Any, Protocol

import orjson
from aiohttp import web

from streams.observability.page.broadcast import Broadcast, Full, event

log = logging.getLogger(__name__)

#: Seconds between two snapshots.
EVERY = 1.0
#: Seconds that one write may take; a client that reads nothing for so long is cut off.
WRITTEN_WITHIN = 10.0
#: Bytes that may wait in the socket of a client that reads too slowly.
_WAITING_BYTES = 64 * 1024

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
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{f"/{name}": (name, "text/javascript") for name in ("page.js", "plot.js", "dom.js", "words.js")},
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Source(Protocol):
    """What there is to show; ``streams.observability.page.overview.Watch``."""

    def tick(self) -> None:
        """Note what happened since the last tick."""

    def past(self) -> dict[str, Any]:
        """Return what a page needs once."""

    def present(self) -> dict[str, Any]:
        """Return what it needs every second."""


class LivePage:
    """Serves a worker's page, and watches the worker as long as the web server runs."""

    def __init__(
        self,
        source: Source,
        broadcast: Broadcast | None = None,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Show `source`, every `EVERY` seconds by `sleep`."""
        self._source = source
        self._broadcast = Broadcast() if broadcast is None else broadcast
        self._sleep = sleep
        self._failing = False

    def add_to(self, app: web.Application) -> None:
        """Add the routes, and the task that runs as long as the server does."""
        for path, (name, content_type) in FILES.items():
            app.router.add_get(path, _file(name, content_type))
        app.router.add_get("/live", self._live, allow_head=False)
        app.cleanup_ctx.append(self._running)
        # Or a page that is left open would hold up the worker's end: aiohttp waits for its requests.
        app.on_shutdown.append(self._ended)

    async def _running(self, _app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run(), name="live-page")
        yield
        task.cancel()
        await asyncio.wait({task})

    async def _ended(self, _app: web.Application) -> None:
        self._broadcast.end()

    async def _run(self) -> None:
        while True:
            self._turn()
            await self._sleep(EVERY)

    def _turn(self) -> None:
        try:
            self._source.tick()
            if self._broadcast:
                self._broadcast.tell(event("present", orjson.dumps(self._source.present())))
        except Exception as exc:  # a page must not cost the worker anything, and its next turn may do better
            if not self._failing:
                log.warning("the live page failed: %s", type(exc).__name__, extra={"event": "page_failed"})
            self._failing = True
        else:
            self._failing = False

    async def _live(self, request: web.Request) -> web.StreamResponse:
        try:
            listener = self._broadcast.join()
        except Full:
            text = "As many pages as may be are open on this worker.\n"
            return web.Response(status=503, text=text, headers={**HEADERS, "Retry-After": "10"})
        try:
            response = web.StreamResponse(
                headers={
                    **HEADERS,
                    "Content-Type": "text/event-stream",
                    "Cache-Control": "no-store",
                    "X-Accel-Buffering": "no",  # a proxy that gathers the stream would show nothing
                }
            )
            await response.prepare(request)
            if request.transport is not None:
                request.transport.set_write_buffer_limits(high=_WAITING_BYTES)
            past = event("past", orjson.dumps(self._source.past()))
            listener.tell(b"retry: 2000\n" + past + event("present", orjson.dumps(self._source.present())))
            async for each in listener:
                await _written(response, each, listener.cut)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._broadcast.leave(listener)
        return response


async def _written(response: web.StreamResponse, text: bytes, cut: asyncio.Event) -> None:
    """Write; give up when the client is cut off meanwhile, or takes too long.

    Raises:
        TimeoutError: so it was.
        ConnectionError: the client has gone.
    """
    writing = asyncio.ensure_future(response.write(text))
    given_up = asyncio.ensure_future(cut.wait())
    try:
        await asyncio.wait({writing, given_up}, timeout=WRITTEN_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        if not writing.done():
            raise TimeoutError
        writing.result()
    finally:
        for task in (writing, given_up):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await task


def _file(name: str, content_type: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    body = files("streams.observability.page").joinpath("static", name).read_bytes()
    tag = hashlib.sha256(body).hexdigest()[:16]

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {**HEADERS, "ETag": f'"{tag}"', "Cache-Control": "no-cache"}
        if any(given.value in (tag, "*") for given in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)

    return answer
