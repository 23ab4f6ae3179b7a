"""Workers with the native pass: the same emails as without it, each of them once."""

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.messages.email import EmailWriter
from streams.native.build import build
from streams.sandbox.lookup_service import LookupService, subscribed
from tests.integration.steps import Make, learn, ready, settled
from tests.integration.topics import action, keyed, read_count, send, status

pytestmark = pytest.mark.kafka

_TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_OUTCOMES = ("emails", "actions_ignored", "dead_letters", "actions_rekeyed", "actions_released")


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """The library is where a worker looks for it, as after `make`."""
    build()


def mixed(count: int) -> list[tuple[bytes | None, bytes | None]]:
    """Actions: most usual, one in ten of somebody unknown, one in ten unusual in one of six ways."""
    messages: list[tuple[bytes | None, bytes | None]] = []
    for number in range(count):
        key, value = keyed(document := action(number, supporter=number % 700))
        match number % 60:
            case 0:
                value = orjson.dumps(document | {"stage": "deliver"})
            case 10:
                value = json.dumps(document | {"é": "\udcc3"}).encode()  # a lone surrogate
            case 20:
                messages.append((key, None))
                continue
            case 30:
                value = value[:-1]
            case 40:
                value = orjson.dumps(document | {"privacy": {"withConsent": False}})
            case 50:
                value = value.replace(b'"stage"', b'"stage":"x","stage"')
        messages.append((key, value))
    return messages


def plain(record: Any) -> tuple[Any, ...]:
    """An email without its id, its source, and when it was decided; its bytes in their order all the same."""
    value = re.sub(rb'"id":"[^"]*"|"decidedAt":"[^"]*"', b"", record.value)
    headers = [header for header in record.headers if header[0] not in ("ce_id", "ce_source", "ce_time")]
    return record.partition, record.key, value, headers


@pytest.mark.timeout(300)
async def test_a_worker_with_the_native_pass_writes_the_emails_that_one_without_it_writes(
    installation: Make, tmp_path: Path
) -> None:
    """Key, value, headers and partition are the same, ids are those of the places, and counts add up."""
    messages = mixed(3_000)
    known = [status(supporter, supporter % 2 == 0) for supporter in range(630)]
    written, counts, natively = [], [], []
    for native in ("off", "on"):
        place = installation(native_pass=native, topic_partitions=2, store="rocksdb")
        worker = await ready(place, store_folder=tmp_path / native)
        await learn(place, known)

        def sums(worker: Any = worker) -> list[float]:
            return [worker.counter(f"confirmation_{name}_total") for name in _OUTCOMES]

        places = await send(
            place.bootstrap_servers, place.names.actions, messages, headers=[("traceparent", _TRACE)]
        )
        await settled(place, lambda: sum(sums()) >= len(messages), 60)
        assert sum(sums()) == worker.counter("confirmation_actions_taken_total") == len(messages)
        counts.append(sums())
        natively.append(worker.counter("confirmation_actions_judged_total", path="native"))
        emails = await read_count(place.bootstrap_servers, place.names.emails, int(counts[-1][0]))
        written.append(sorted(map(plain, emails)))
        ids = {EmailWriter(place.names.actions, number).id_of(offset) for number, offset in places}
        found = [dict(email.headers)["ce_id"].decode() for email in emails]
        assert len(set(found)) == len(found)
        assert ids.issuperset(found)
        assert worker.stop() == 0, worker.tail()
    assert [pair for pair in zip(*written, strict=True) if pair[0] != pair[1]][:1] == []
    assert counts[0] == counts[1]
    assert natively[0] == 0
    assert natively[1] > 2_000


@pytest.mark.timeout(400)
async def test_kill_9_with_the_native_pass_loses_and_doubles_nothing(installation: Make) -> None:
    """Each of 12,000 actions has one email after three SIGKILLs, one in ten with a lookup."""
    actions = 12_000
    with LookupService(subscribed) as lookup:
        place = installation(lookup_url=lookup.url, native_pass="on", store="rocksdb")
        workers = [await ready(place) for _ in range(2)]
        servers = place.bootstrap_servers
        known = [status(supporter, supporter % 2 == 0) for supporter in range(5_000)]
        await send(servers, place.names.statuses, known)
        messages = [
            keyed(action(number, supporter=number % 5_000 if number % 10 else 1_000_000 + number))
            for number in range(actions)
        ]
        feeding = asyncio.create_task(send(servers, place.names.actions, messages, rate=1_000))
        for kill in range(3):
            await asyncio.sleep(3)
            assert not feeding.done(), "the kills must happen while actions flow"
            victim = workers[kill % 2]
            victim.kill()
            victim.start()
        await feeding
        records = await read_count(servers, place.names.emails, actions, seconds=180)
        counts = Counter(orjson.loads(record.value)["actionId"] for record in records)
        missing = [number for number in range(actions) if number not in counts]
        doubled = [number for number, count in counts.items() if count > 1]
        assert (missing, doubled) == ([], [])
        judged = sum(worker.counter("confirmation_actions_judged_total", path="native") for worker in workers)
        assert judged > 500
        for worker in workers:
            assert worker.stop() == 0, worker.tail()
