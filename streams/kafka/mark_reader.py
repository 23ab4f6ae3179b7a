"""Reads one partition's marks of letters, from a time on to the end that it has now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.kafka.fetching import hand_over_stand_ins
from streams.kafka.record_batches import read_any_batch
from streams.kafka.unserved import read_unserved
from streams.messages.unreadable import UnreadableRecords

#: The reading ends after so many seconds without a record before the end: an open transaction, a fault.
PATIENCE = 5.0
_WAIT = 200  # milliseconds; the broker answers earlier when there is something to read


class KeyValue(NamedTuple):
    """One record."""

    key: bytes | None
    value: bytes | None
    at: float  # seconds since the epoch


async def read_since(
    topic: str,
    connection: Mapping[str, Any],
    extents: Callable[[Iterable[TopicPartition]], Awaitable[Mapping[TopicPartition, Any]]],
    partition: int,
    most: int,
    since: float,
) -> list[KeyValue]:
    """Return the committed records of a partition, from a time on, in their order.

    Batches that nobody can read are passed over. What an open transaction hides is waited for, but not for
    longer than `PATIENCE`.

    Args:
        topic: whose partition.
        connection: what every Kafka client needs.
        extents: asks where partitions end (``end``, the high watermark).
        partition: its number.
        most: offsets before its end that are read.
        since: seconds since the epoch.

    Raises:
        KafkaError: the partition cannot be read.
    """
    topic_partition = TopicPartition(topic, partition)
    read_any_batch()
    consumer = AIOKafkaConsumer(
        **connection,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # where retention overtakes the reading
    )
    found: list[KeyValue] = []
    try:
        await consumer.start()
        read_unserved(consumer._fetcher)
        hand_over_stand_ins(consumer._fetcher)
        consumer.assign([topic_partition])
        # Behind it may be what an open transaction hides, and what is not found by its time. It is asked for
        # first: the transaction may end meanwhile.
        stable = (await consumer.end_offsets([topic_partition]))[topic_partition]
        end = (await extents([topic_partition]))[topic_partition].end
        asked = {topic_partition: max(0, int(since * 1000))}
        at = (await consumer.offsets_for_times(asked)).get(topic_partition)
        first = stable if at is None or at.offset < 0 else at.offset
        consumer.seek(topic_partition, max(end - most, first))
        came_at = time.monotonic()
        while await consumer.position(topic_partition) < end and time.monotonic() - came_at < PATIENCE:
            for records in (await consumer.getmany(timeout_ms=_WAIT)).values():
                found += _readable(records)
                came_at = time.monotonic()
            await asyncio.sleep(0)
    finally:
        await consumer.stop()
    return found


def _readable(records: Collection[Any]) -> Iterator[KeyValue]:
    for record in records:
        if type(record) is not UnreadableRecords:
            yield KeyValue(record.key, record.value, record.timestamp / 1000)
