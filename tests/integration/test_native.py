"""Workers with the native pass: the same emails as without it, each of them once."""

import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.messages.email import EmailWriter
from streams.native.build import build
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
