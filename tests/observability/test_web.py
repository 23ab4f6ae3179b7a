"""The worker's pages, over a real socket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import faust
from aiohttp.web import TCPSite

from streams.observability.metrics import Metrics
from streams.observability.web import Check, add_pages


@asynccontextmanager
async def pages(
    alive: Check = list, ready: Check = list, metrics: Metrics | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve the pages on a free port; yields a session whose base is the server."""
    app = faust.App(
        "test",
        env={},
        broker="kafka://127.0.0.1:1",
        store="memory://",
        web_tables_enabled=False,
        web_router_enabled=False,
        web_stats_enabled=False,
        web_graph_enabled=False,
    )
    add_pages(app, registry=(metrics or Metrics("actions")).registry, alive=alive, ready=ready)
    app.web.init_server()
    runner = app.web._runner
    await runner.setup()
    await TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
            yield session
    finally:
        await runner.cleanup()


async def test_a_page_without_problems_is_200() -> None:
    """No reason against it: status 200, and JSON that says so."""
    async with pages() as session:
        for path, good in (("/livez", "alive"), ("/readyz", "ready")):
            async with session.get(path) as response:
                assert response.status == 200
                assert response.content_type == "application/json"
                assert await response.json() == {good: True, "problems": []}


async def test_a_page_with_problems_is_503_and_names_them() -> None:
    """Any reason: status 503, every sentence in the body; the other page has its own answer."""
    why = ["partition 3: Ärger", "agent confirm has ended"]
    async with pages(ready=lambda: why) as session:
        async with session.get("/readyz") as response:
            assert response.status == 503
            assert json.loads(await response.read()) == {"ready": False, "problems": why}
        async with session.get("/livez") as response:
            assert response.status == 200


async def test_each_request_asks_anew() -> None:
    """Nothing is cached: what is so now is answered."""
    problems: list[str] = []
    async with pages(alive=lambda: problems) as session:
        async with session.get("/livez") as response:
            assert response.status == 200
        problems.append("stuck")
        async with session.get("/livez") as response:
            assert response.status == 503


async def test_a_check_that_fails_is_no_good_answer() -> None:
    """A bug in a check is a 500, which a probe takes as a failure, without the exception's text."""

    def broken() -> list[str]:
        raise ZeroDivisionError("canary")

    async with pages(alive=broken) as session, session.get("/livez") as response:
        assert response.status == 500
        assert "canary" not in await response.text()


async def test_metrics_are_in_prometheus_s_text_format() -> None:
    """The scrape has the content type of the format that it is in, and the counters."""
    metrics = Metrics("actions")
    metrics.ingested("supporter-status", 3, 0, [])
    async with pages(metrics=metrics) as session, session.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        assert 'confirmation_statuses_total{result="applied"} 3.0' in await response.text()


async def test_head_requests_are_answered_alike() -> None:
    """A probe that sends HEAD gets the status of GET."""
    async with pages(ready=lambda: ["not yet"]) as session, session.head("/readyz") as response:
        assert response.status == 503


async def test_faust_s_pages_about_tables_are_off() -> None:
    """With the settings of the app no page shows what the table holds or how the app is built."""
    async with pages() as session:
        for path in ("/tables/", "/router/", "/stats/", "/graph/", "/tables/supporter-status/310:ref"):
            async with session.get(path) as response:
                assert response.status == 404, path
