"""Reading one partition's marks from a real topic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.delivery.offsets import Extent, Offsets
from streams.kafka import mark_reader
from streams.kafka.mark_reader import read_since
from streams.sandbox.kafka import EmbeddedKafka
from tests.integration.topics import producing

pytestmark = pytest.mark.kafka


async def test_it_reads_from_a_time_to_the_end_and_waits_for_an_open_transaction(
    kafka: EmbeddedKafka,
    admin: AIOKafkaAdminClient,
    unique_name: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is older is left out; what a transaction hides is waited for, but not for ever."""
    topic, connection = unique_name("marks"), {"bootstrap_servers": kafka.bootstrap_servers}
    await admin.create_topics([NewTopic(topic, 2, 1)])
    offsets = Offsets(unique_name("g"), connection)
    now = time.time()

    asked = asyncio.Event()

    async def extents(partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Extent]:
        asked.set()
        return await offsets.extents(partitions)

    async def read(since: float = 0.0, most: int = 100) -> list[bytes | None]:
        return [each.key for each in await read_since(topic, connection, extents, 1, most, since)]

    try:
        assert await read() == []
        async with producing(kafka.bootstrap_servers) as producer:
            for key, at in ((b"old", now - 1_000), (b"new", now)):
                await producer.send_and_wait(topic, b"v", key=key, partition=1, timestamp_ms=int(at * 1000))
            await producer.send_and_wait(topic, b"v", key=b"elsewhere", partition=0)
        assert await read(now - 2_000) == [b"old", b"new"]
        assert await read(now - 60) == await read(now - 2_000, 1) == [b"new"]
        assert await read(now + 60) == []
        async with AIOKafkaProducer(**connection, transactional_id=unique_name("x")) as producer:
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"v", key=b"hidden", partition=1)
            asked.clear()
            reading = asyncio.create_task(read(now + 60))
            await asked.wait()
            await producer.commit_transaction()
            assert await reading == [b"hidden"]
            monkeypatch.setattr(mark_reader, "PATIENCE", 2.0)
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"v", key=b"hidden too", partition=1)
            assert await read(now - 60) == [b"new", b"hidden"]
            await producer.abort_transaction()
    finally:
        await offsets.stop()
