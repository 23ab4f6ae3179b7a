"""Workers that are killed while emails flow."""

import asyncio
import random
from collections import Counter
from typing import Any

import orjson
import pytest
from aiohttp import web

from streams.native.build import build
from streams.sandbox.lookup_service import LookupService, subscribed
from tests.integration.steps import Make, ready
from tests.integration.topics import action, keyed, read_count, send, status

pytestmark = pytest.mark.kafka

ACTIONS = 60_000
KILLS = 4


async def answer_out_of_order(question: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(0.3 * random.Random(question["contactRef"]).random())
    return await subscribed(question)


@pytest.mark.parametrize(("native_pass", "store"), [("off", "memory"), ("on", "rocksdb")])
@pytest.mark.timeout(300)
async def test_kill_9_in_mid_batch_loses_and_doubles_nothing(
    installation: Make, native_pass: str, store: str
) -> None:
    """Each of 60,000 actions has one email after four SIGKILLs, some of them with lookups out of order."""
    build()  # as `make` does
    with LookupService(answer_out_of_order) as lookup:
        place = installation(lookup_url=lookup.url, native_pass=native_pass, store=store)
        workers = [await ready(place) for _ in range(2)]
        servers = place.bootstrap_servers
        known = [status(supporter, supporter % 2 == 0) for supporter in range(5_000)]
        await send(servers, place.names.statuses, known)
        # Nine of ten are of known supporters; every tenth has to be looked up.
        messages = [
            keyed(action(number, supporter=number % 5_000 if number % 10 else 1_000_000 + number))
            for number in range(ACTIONS)
        ]
        feeding = asyncio.create_task(send(servers, place.names.actions, messages, rate=2_500))
        for kill in range(KILLS):
            await asyncio.sleep(4)
            assert not feeding.done(), "the kills must happen while actions flow"
            victim = workers[kill % 2]
            victim.kill()
            victim.start()
        await feeding
        records = await asyncio.wait_for(read_count(servers, place.names.emails, ACTIONS, seconds=90), 120)
        counts = Counter(orjson.loads(record.value)["actionId"] for record in records)
        missing = [number for number in range(ACTIONS) if number not in counts]
        doubled = [number for number, count in counts.items() if count > 1]
        assert (missing, doubled) == ([], [])
        judged = sum(worker.counter("confirmation_actions_judged_total", path="native") for worker in workers)
        assert judged > 500 if native_pass == "on" else judged == 0
        for worker in workers:
            assert worker.stop() == 0, worker.tail()
