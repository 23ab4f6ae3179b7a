"""A fetch that a broker refuses, on a real broker."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.kafka.interruptions import note_interruptions
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import happens, make_topics
from tests.integration.topics import producing

pytestmark = pytest.mark.kafka


async def test_a_deleted_topic_and_an_offset_out_of_range_are_told(
    kafka: EmbeddedKafka, admin: AIOKafkaAdminClient, unique_name: Callable[[str], str]
) -> None:
    """Each partition is named, and no other one."""
    gone, cut, kept = places = [TopicPartition(unique_name("t"), 0) for _ in range(3)]
    await make_topics(kafka.bootstrap_servers, 1, *(each.topic for each in places))
    async with producing(kafka.bootstrap_servers) as producer:
        for each in places:
            await producer.send_and_wait(each.topic, b"x", partition=0)
    told: set[TopicPartition] = set()
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers) as consumer:
        note_interruptions(consumer._client, told.add)
        consumer.assign(places)
        for each in places:
            consumer.seek(each, 1_000 if each == cut else 0)
        read: list[TopicPartition] = []

        async def tells(of: set[TopicPartition]) -> bool:
            read.extend(await consumer.getmany(timeout_ms=20))  # what is not taken holds up the next fetch
            return told == of and kept in read

        await happens(lambda: tells({cut}))
        await admin.delete_topics([gone.topic])
        await happens(lambda: tells({cut, gone}))
