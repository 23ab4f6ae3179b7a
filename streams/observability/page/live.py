"""The worker's page over HTTP: a closed list of files, and a JSON document that they ask for every second."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files

import orjson
from aiohttp import web

from streams.observability.group_overview import ORGANISATION, GroupOverview
from streams.observability.page.overview import Overview

log = logging.getLogger(__name__)

#: Seconds between two points of the history; the document is made anew at most as often.
EVERY = 1.0
_MOST_DIGITS = 20  # an orgId has 63 bits

FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{f"/{name}": (name, "text/javascript") for name in ("page.js", "plot.js", "dom.js", "words.js")},
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class LivePage:
    """Serves a worker's page, and notes its history as long as the web server runs."""

    def __init__(
        self,
        overview: Overview,
        group: GroupOverview,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Show `overview`, and all workers of `group`. `sleep` waits for the given number of seconds."""
        self._overview = overview
        self._group = group
        self._sleep = sleep
        self._document: bytes | None = None  # of this second; None until somebody asks for it
        self._failed = False  # in this second
        self._reported = False  # since a document was made for the last time

    def add_to(self, app: web.Application) -> None:
        """Add the routes, and the task that runs as long as the server does."""
        for path, (name, content_type) in FILES.items():
            app.router.add_get(path, _file(name, content_type))
        app.router.add_get("/live", self._live)
        app.router.add_get("/workers", self._workers)
        app.cleanup_ctx.append(self._running)

    async def _running(self, _app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run(), name="live-page")
        yield
        task.cancel()
        await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            self._document, self._failed = None, False
            try:
                self._overview.note()
            except Exception as exc:  # a bug of the page must not end the worker
                self._fail(exc)
            await self._sleep(EVERY)

    async def _live(self, request: web.Request) -> web.Response:
        if (organisation := request.query.get(ORGANISATION)) is not None:
            return self._beginning_with(organisation)
        if self._document is None and not self._failed:
            try:
                self._document = orjson.dumps(self._overview.describe())
                self._reported = False
            except (
                Exception
            ) as exc:  # nor may it be taken for good news: the page shows that it knows nothing
                self._fail(exc)
        return _answer(self._document)

    def _beginning_with(self, organisation: str) -> web.Response:
        if not (organisation.isascii() and organisation.isdigit() and len(organisation) < _MOST_DIGITS):
            return web.Response(status=400, text="organisation is an orgId\n")
        try:
            return _answer(orjson.dumps(self._overview.describe(int(organisation))))
        except Exception as exc:
            self._report(exc)
            return _answer(None)

    async def _workers(self, _request: web.Request) -> web.Response:
        try:
            return _answer(orjson.dumps((await self._group.latest()).document()))
        except Exception as exc:
            self._report(exc)
            return _answer(None)

    def _fail(self, exc: Exception) -> None:
        self._failed = True
        self._report(exc)

    def _report(self, exc: Exception) -> None:
        if not self._reported:
            self._reported = True
            log.warning("the live page failed: %s", type(exc).__name__, extra={"event": "page_failed"})


def _answer(document: bytes | None) -> web.Response:
    """Answer with a JSON document; None: it could not be made."""
    headers = {"Cache-Control": "no-store"}
    if document is None:
        return web.Response(status=500, text="The page failed: see the log.\n", headers=headers)
    return web.Response(body=document, content_type="application/json", headers=headers)


def _file(name: str, content_type: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    body = files("streams.observability.page").joinpath("static", name).read_bytes()
    tag = hashlib.sha256(body).hexdigest()[:16]

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
        if any(given.value in (tag, "*") for given in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)

    return answer
