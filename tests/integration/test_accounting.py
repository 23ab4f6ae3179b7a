"""What the counters of a worker say of its actions, scrape by scrape, while partitions come and go."""

import asyncio
import json
import random
import signal
import threading
from typing import Any

import orjson
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from streams.sandbox.lookup_service import Answer, LookupService
from streams.sandbox.worker import Installation, WorkerProcess
from tests.integration.steps import Make, ready, settled
from tests.integration.topics import action, producing, read, send, status

pytestmark = pytest.mark.kafka

KNOWN = 10_000


def slow(moved: threading.Event) -> Answer:
    """Answer after half a second or more, now and then with a failure; one in fifty not before `moved`."""

    async def answer(_: dict[str, Any]) -> web.StreamResponse:
        held = random.random() < 0.02
        await asyncio.sleep(0.5 + random.random() / 4)
        while held and not moved.is_set():  # noqa: ASYNC110 - the event is another thread's
            await asyncio.sleep(0.05)
        return web.json_response({}, status=200 if random.random() < 0.9 else 500)

    return answer


class Scrapes:
    """Scrapes one worker again and again, as long as it answers."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker
        self.sums: list[dict[str, float]] = []
        self.oldest: list[int] = []  # how many partitions had an action that waits
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._stop.set()
        await self._task

    async def _run(self) -> None:
        while not self._stop.is_set():
            code, text = await asyncio.to_thread(self.worker.get, "/metrics")
            if code == 200:
                self._note(text)
            await asyncio.sleep(0.02)

    def _note(self, text: str) -> None:
        sums: dict[str, float] = {}
        oldest = 0
        for family in text_string_to_metric_families(text):
            oldest += len(family.samples) if family.name.startswith("confirmation_oldest_action") else 0
            for sample in family.samples:
                if family.name != "confirmation_statuses" or sample.labels["result"] == "dead_letter":
                    sums[family.name] = sums.get(family.name, 0.0) + sample.value
        self.sums.append(sums)
        self.oldest.append(oldest)

    @property
    def last(self) -> dict[str, float]:
        return self.sums[-1]

    def unaccounted(self) -> set[float]:
        """What was left over, in any scrape."""
        return {
            sums["confirmation_actions_taken"]
            - sums["confirmation_emails"]
            - sums["confirmation_actions_ignored"]
            - (sums["confirmation_dead_letters"] - sums["confirmation_statuses"])
            - sums["confirmation_actions_rekeyed"]
            - sums["confirmation_actions_released"]
            - sums["confirmation_actions_in_flight"]
            for sums in self.sums
        }

    def most(self, name: str) -> float:
        return max((sums[name] for sums in self.sums), default=0)


async def act(place: Installation, enough: asyncio.Event) -> int:
    """Write actions of every kind until told, and return how many ask for an email.

    Known, asked about, at another stage, unreadable, in the wrong partition.
    """
    asking = number = 0
    async with producing(place.bootstrap_servers) as producer:
        while not enough.is_set():
            number += 1
            document = action(number) if number % 10 else action(number, stage="action_confirm")
            value = orjson.dumps(document) if number % 97 else b"no action"
            key = f"310:ref{number:08d}".encode() if number % 3 else None
            await producer.send(
                place.names.actions, value, key=key, partition=None if number % 3 else number % 4
            )
            asking += bool(number % 10 and number % 97)
            if number % 20 == 0:
                await asyncio.sleep(0.05)
    return asking


async def test_actions_are_accounted_for_in_every_scrape(installation: Make) -> None:
    """With lookups under way, re-keyed actions, dead letters, a worker that joins and one that leaves."""
    moved = threading.Event()
    with LookupService(slow(moved)) as server:
        place = installation(
            lookup_url=server.url, lookup_deadline=25, drain_grace=0.1, dead_letter_ceiling=1
        )
        first = await ready(place)
        one = Scrapes(first)
        rows = [status(number, True) for number in range(0, KNOWN, 2)]
        await send(place.bootstrap_servers, place.names.statuses, [*rows, (b"nobody", b"no status")])
        enough = asyncio.Event()
        acting = asyncio.create_task(act(place, enough))
        await settled(place, lambda: one.most("confirmation_emails") > 300)
        second = await ready(place)
        moved.set()
        two = Scrapes(second)
        await settled(place, lambda: two.most("confirmation_emails") > 50)
        first.send(signal.SIGTERM)
        assert await asyncio.to_thread(first.wait) == 0
        enough.set()
        asking = await acting
        ids: set[int] = set()

        def complete(records: list[Any]) -> bool:
            ids.update(json.loads(record.value)["actionId"] for record in records[len(ids) :])
            return len(ids) >= asking

        emails = await read(place.bootstrap_servers, place.names.emails, complete)
        assert len(emails) == len(ids) == asking
        await settled(place, lambda: two.last["confirmation_actions_in_flight"] == 0)
        await settled(place, lambda: two.last["confirmation_lag_records"] == 0)
        await asyncio.gather(one.stop(), two.stop())
    assert one.unaccounted() == {0}
    assert two.unaccounted() == {0}
    assert two.oldest[-1] == 0
    assert min(max(one.oldest), max(two.oldest)) > 0
    for name in ("in_flight", "rekeyed", "ignored", "released"):  # each of them has had its part
        assert one.most(f"confirmation_actions_{name}") > 0, name
    assert max(one.most("confirmation_statuses"), two.most("confirmation_statuses")) == 1
