"""The page over HTTP, on real sockets."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from streams.observability.page.broadcast import Broadcast
from streams.observability.page.live import FILES, POLICY, LivePage


class Source:
    """Counts how often it is asked."""

    def __init__(self, padding: int = 0) -> None:
        self.ticks = 0
        self.presents = 0
        self.padding = "x" * padding
        self.bug: Exception | None = None

    def tick(self) -> None:
        if self.bug is not None:
            raise self.bug
        self.ticks += 1

    def past(self) -> dict[str, Any]:
        return {"points": []}

    def present(self) -> dict[str, Any]:
        self.presents += 1
        return {"number": self.presents, "padding": self.padding}


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


@asynccontextmanager
async def serving(source: Source, broadcast: Broadcast | None = None) -> AsyncIterator[Served]:
    pace = Pace()
    app = web.Application()
    LivePage(source, broadcast, sleep=pace.sleep).add_to(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
            yield Served(session, runner, pace)
    finally:
        await runner.cleanup()


async def next_event(response: aiohttp.ClientResponse) -> tuple[str, Any]:
    """Return the next event's name and body; comments and the retry line are passed over."""
    name = ""
    async with asyncio.timeout(10):
        while line := (await response.content.readline()).decode():
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "event":
                name = value
            if field == "data":
                return name, orjson.loads(value)
    raise ConnectionError


@pytest.mark.parametrize("path", [*FILES, "/live"])
async def test_every_answer_is_locked_down(path: str) -> None:
    """Only the page's own files may be used, no frame may hold it, and nothing leaks to other sites."""
    async with serving(Source()) as served, served.session.get(path) as response:
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
    async with serving(Source()) as served:
        for path, (_, content_type) in FILES.items():
            async with served.session.get(path) as response:
                assert (response.content_type, response.charset) == (content_type, "utf-8")
                tag = response.headers["ETag"]
            async with served.session.get(path, headers={"If-None-Match": tag}) as response:
                assert response.status == 304


async def test_the_page_needs_nothing_from_elsewhere() -> None:
    """No file names another origin, and the page has neither inline script nor inline style."""
    async with serving(Source()) as served:
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


async def test_a_listener_gets_the_past_and_then_the_present_every_second() -> None:
    """First both at once, so that nobody looks at an empty page; then one event a second."""
    source = Source()
    async with serving(source) as served, served.session.get("/live") as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        assert await next_event(response) == ("past", {"points": []})
        assert (await next_event(response))[1]["number"] == 1
        for number in (2, 3):
            await served.pace.second()
            assert (await next_event(response))[1]["number"] == number


async def test_nothing_is_described_while_nobody_looks() -> None:
    """Unwatched, the only cost is the tick; the description is made once for all who look."""
    source = Source()
    async with serving(source) as served:
        for _ in range(3):
            await served.pace.second()
        assert (source.ticks, source.presents) == (4, 0)
        async with served.session.get("/live") as one, served.session.get("/live") as other:
            await next_event(one)
            await next_event(other)
            before = source.presents
            await served.pace.second()
            assert source.presents == before + 1


async def test_one_page_too_many_is_told_to_wait() -> None:
    """A status that says so, and when to try again; a page that closes makes room."""
    broadcast = Broadcast(most=1)
    async with serving(Source(), broadcast) as served:
        async with served.session.get("/live") as response:
            await next_event(response)
            async with served.session.get("/live") as refused:
                assert refused.status == 503
                assert refused.headers["Retry-After"] == "10"
        async with asyncio.timeout(10):
            while broadcast:
                await served.pace.second()
                await asyncio.sleep(0.01)
        async with served.session.get("/live") as response:
            assert response.status == 200


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    """It costs its own buffers and nobody else's time; others get every second."""
    broadcast = Broadcast(behind=3)
    async with serving(Source(padding=500_000), broadcast) as served:
        host, port = served.runner.addresses[0][:2]
        with socket.socket() as lazy:
            lazy.setblocking(False)
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(lazy, (host, port))
            await loop.sock_sendall(lazy, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            async with served.session.get("/live") as brisk:
                await next_event(brisk)
                await next_event(brisk)
                assert len(broadcast) == 2
                seconds = 0
                while len(broadcast) == 2:
                    seconds += 1
                    assert seconds < 20, "nobody was cut off"
                    await served.pace.second()
                    await next_event(brisk)
                await served.pace.second()
                await next_event(brisk)
                assert len(broadcast) == 1


async def test_an_open_page_does_not_hold_up_the_end() -> None:
    """The server's clean-up lets every listener go at once; aiohttp would wait a minute for it."""
    async with serving(Source()) as served:
        response = await served.session.get("/live")
        await next_event(response)
        await next_event(response)
        began = time.monotonic()
        await served.runner.cleanup()
        assert time.monotonic() - began < 2
        with pytest.raises((ConnectionError, aiohttp.ClientError)):
            await next_event(response)
        response.close()


async def test_a_bug_in_the_page_costs_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """One warning, by the error's class; when it works again, it goes on."""
    source = Source()
    async with serving(source) as served:
        source.bug = ZeroDivisionError("canary")
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                await served.pace.second()
        assert [record.getMessage() for record in caplog.records] == [
            "the live page failed: ZeroDivisionError"
        ]
        source.bug = None
        ticks = source.ticks
        await served.pace.second()
        assert source.ticks == ticks + 1
