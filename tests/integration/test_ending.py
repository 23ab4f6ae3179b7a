"""How a worker ends: when it is told to, and when a part of it has failed."""

import asyncio
import signal
import sys
import threading
from typing import Any

import orjson
import pytest
from aiohttp import web

from streams.sandbox.lookup_service import LookupService, subscribed
from streams.sandbox.worker import Installation, WorkerProcess
from tests.integration.steps import Make, act, ready, reasons, settled
from tests.integration.topics import action, send, status

pytestmark = pytest.mark.kafka


async def broken(place: Installation, way: str) -> WorkerProcess:
    """Start a worker, wait until it is ready, and break it in this way."""
    worker = place.worker()
    worker.start([sys.executable, "-m", "tests.integration.broken_worker", way])
    await asyncio.to_thread(worker.wait_ready)
    await send(place.bootstrap_servers, place.names.statuses, [status(1, True)])
    return worker


async def test_a_worker_is_not_ready_from_the_signal_on(installation: Make) -> None:
    """/readyz is 503 and says why while the last lookups are under way; their emails still leave."""
    answers = threading.Event()

    async def answer(question: dict[str, Any]) -> web.StreamResponse:
        await asyncio.to_thread(answers.wait)
        return await subscribed(question)

    with LookupService(answer) as lookup:
        place = installation(lookup_url=lookup.url, lookup_deadline=20, drain_grace=20)
        worker = await ready(place)
        await act(place, *map(action, range(3)))
        await settled(place, lambda: worker.counter("confirmation_lane_pending_lookups") == 3)
        try:
            worker.send(signal.SIGTERM)
            await settled(place, lambda: worker.get("/readyz")[0] != 200, 5)
            assert worker.problems() == ["this worker is ending"]
            assert worker.counter("confirmation_actions_in_flight") == 3
            assert worker.get("/livez")[0] == 200
        finally:
            answers.set()
        assert await asyncio.to_thread(worker.wait) == 0
        assert await reasons(place, 3) == dict.fromkeys(range(3), "lookup_subscribed")


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("fails", "LookupError, raised in __main__"),
        ("ends", "AgentEnded: agent ingest_statuses has ended"),
    ],
)
async def test_an_agent_that_fails_or_ends_ends_the_worker(installation: Make, way: str, reason: str) -> None:
    """Its exit code is not 0, and the last line of its log says why: nobody reads that topic any more."""
    worker = await broken(installation(), way)
    assert await asyncio.to_thread(worker.wait) not in {0, -signal.SIGKILL}
    line = orjson.loads(worker.tail(1))
    assert line["event"] == "crashed"
    assert reason in line["message"]


async def test_a_consumer_thread_that_stands_still_is_a_reason_to_restart(installation: Make) -> None:
    """/livez and /readyz are 503 and name it, though no partition has work."""
    place = installation(stuck_after=5, lookup_deadline=3, transaction_timeout=3)
    worker = await broken(place, "blocks")
    await settled(place, lambda: worker.get("/livez")[0] == 503)
    for page in ("/livez", "/readyz"):
        assert "the thread of the Kafka consumer has not answered" in worker.get(page)[1]
