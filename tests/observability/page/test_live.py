"""The page over HTTP, on real sockets."""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from streams.observability.group_overview import GroupOverview
from streams.observability.page.live import FILES, LivePage
from streams.observability.web_limits import POLICY, protect

#: A Kafka that is not there.
NO_KAFKA = {"bootstrap_servers": "127.0.0.1:1"}


class FakeOverview:
    """Counts how often it is asked."""

    def __init__(self, padding: int = 0) -> None:
        self.noted = 0
        self.described = 0
        self.padding = "x" * padding
        self.bug: Exception | None = None

    def note(self) -> None:
        self.noted += 1

    def describe(self, organisation: int | None = None) -> dict[str, Any]:
        self.described += 1
        if self.bug is not None:
            raise self.bug
        return {"number": self.described, "organisation": organisation, "padding": self.padding}


class Pace:
    """A sleep that lasts until the test says so."""

    def __init__(self) -> None:
        self._go = asyncio.Semaphore(0)
        self.slept = asyncio.Event()

    async def sleep(self, _: float) -> None:
        self.slept.set()
        await self._go.acquire()

    async def second(self) -> None:
        """Let one second pass, and what happens in it."""
        self.slept.clear()
        self._go.release()
        await self.slept.wait()


class Served:
    """A page under test."""

    def __init__(self, session: aiohttp.ClientSession, runner: web.AppRunner, pace: Pace) -> None:
        self.session = session
        self.runner = runner
        self.pace = pace

    async def number(self) -> int:
        """Return which description the page gets now."""
        async with self.session.get("/live") as response:
            assert response.status == 200
            return int((await response.json())["number"])


@asynccontextmanager
async def serving(overview: FakeOverview) -> AsyncIterator[Served]:
    pace = Pace()
    app = web.Application()
    LivePage(overview, GroupOverview("g", NO_KAFKA), sleep=pace.sleep).add_to(app)  # type: ignore[arg-type]  # a fake
    server = SimpleNamespace(web_app=app)
    protect(server, ())
    runner = server._runner
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
            yield Served(session, runner, pace)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("path", [*FILES, "/live", "/workers"])
async def test_every_answer_is_locked_down(path: str) -> None:
    """Only the page's own files may be used, no frame may hold it, and nothing leaks to other sites."""
    async with serving(FakeOverview()) as served, served.session.get(path) as response:
        assert response.status == 200
        assert response.headers["Content-Security-Policy"] == POLICY
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in response.headers
    assert "default-src 'none'" in POLICY
    assert "frame-ancestors 'none'" in POLICY
    assert "unsafe" not in POLICY


async def test_files_are_utf_8_and_not_sent_twice() -> None:
    """Each has its type; a browser that has the file is told so."""
    async with serving(FakeOverview()) as served:
        for path, (_, content_type) in FILES.items():
            async with served.session.get(path) as response:
                assert (response.content_type, response.charset) == (content_type, "utf-8")
                tag = response.headers["ETag"]
            async with served.session.get(path, headers={"If-None-Match": tag}) as response:
                assert response.status == 304


async def test_the_page_needs_nothing_from_elsewhere() -> None:
    """No file names another origin, and the page has neither inline script nor inline style."""
    async with serving(FakeOverview()) as served:
        for path in FILES:
            async with served.session.get(path) as response:
                text = await response.text()
            assert "https://" not in text, path
            assert not [word for word in text.split("http://")[1:] if not word.startswith("www.w3.org/")], (
                path
            )
            assert "style=" not in text, path
            assert "innerHTML" not in text, path
        async with served.session.get("/") as response:
            page = await response.text()
    assert page.count("<script") == page.count('<script type="module" src="page.js"') == 1
    assert re.search(r"\son\w+\s*=|javascript:|<style", page) is None


async def test_the_document_is_made_once_a_second_for_all_who_ask() -> None:
    """However many ask within a second get the same bytes; in the next second there is a new document."""
    overview = FakeOverview()
    async with serving(overview) as served:
        await served.pace.second()
        assert [await served.number() for _ in range(3)] == [1, 1, 1]
        await served.pace.second()
        assert await served.number() == 2
        assert overview.described == 2


async def test_a_document_about_an_organisation_is_made_for_who_asks() -> None:
    """Others still get that of this second; what is no orgId is refused, and describes nothing."""
    overview = FakeOverview()
    async with serving(overview) as served:
        assert await served.number() == 1
        async with served.session.get("/live?organisation=310") as response:
            assert (await response.json())["organisation"] == 310
        assert await served.number() == 1
        for wrong in ("", "x", "-1", "²", "9" * 20):
            async with served.session.get("/live", params={"organisation": wrong}) as response:
                assert response.status == 400
    assert overview.described == 2


async def test_the_document_is_json_that_no_cache_keeps() -> None:
    """Neither a browser nor a proxy may show the figures of another second."""
    async with serving(FakeOverview()) as served, served.session.get("/live") as response:
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"


async def test_nothing_is_described_while_nobody_asks() -> None:
    """Without an open page only the history is kept, one point a second."""
    overview = FakeOverview()
    async with serving(overview) as served:
        for _ in range(3):
            await served.pace.second()
        assert (overview.noted, overview.described) == (4, 0)


async def test_open_pages_do_not_hold_up_the_end() -> None:
    """The server ends at once, though one page keeps its connection and another never reads its answers."""
    async with serving(FakeOverview(padding=100_000)) as served:
        assert await served.number() == 1
        host, port = served.runner.addresses[0][:2]
        loop = asyncio.get_running_loop()
        with socket.socket() as lazy:
            lazy.setblocking(False)
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(lazy, (host, port))
            await loop.sock_sendall(lazy, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await loop.sock_recv(lazy, 1)
            # Open requests would be waited for for a minute.
            await asyncio.wait_for(served.runner.cleanup(), 30)


async def test_a_bug_in_the_page_is_no_good_news(caplog: pytest.LogCaptureFixture) -> None:
    """While the worker cannot be described the answer is 500, with one line in the log; then all goes on."""
    overview = FakeOverview()
    async with serving(overview) as served:
        overview.bug = ZeroDivisionError("canary")
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                await served.pace.second()
                async with served.session.get("/live") as response:
                    assert response.status == 500
                    assert "canary" not in await response.text()
        assert [record.getMessage() for record in caplog.records] == [
            "the live page failed: ZeroDivisionError"
        ]
        overview.bug = None
        await served.pace.second()
        assert await served.number() == overview.described


async def test_a_bug_in_the_history_is_no_good_news_either(caplog: pytest.LogCaptureFixture) -> None:
    """A second that could not be noted is not described: its figures would be those of another one."""
    overview = FakeOverview()
    async with serving(overview) as served:
        overview.note = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]  # the bug
        with caplog.at_level(logging.WARNING):
            await served.pace.second()
        async with served.session.get("/live") as response:
            assert response.status == 500
        assert overview.described == 0
        assert [record.getMessage() for record in caplog.records] == [
            "the live page failed: ZeroDivisionError"
        ]
        del overview.note
        await served.pace.second()
        assert await served.number() == 1
