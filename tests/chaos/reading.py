"""Reads whole topics as a mailer would, and puts them into the ledgers."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition


async def read_all(
    bootstrap_servers: str,
    topic: str,
    partitions: int,
    take: Callable[[Any], None],
    seconds: float = 300,
    before: Mapping[int, int] | None = None,
) -> None:
    """Give every committed record of `topic` to `take`, in each partition's order.

    `before` has an offset for each partition, if not everything is wanted.

    Raises:
        TimeoutError: the end of a partition was not reached.
    """
    places = [TopicPartition(topic, number) for number in range(partitions)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 << 20,
    )
    async with consumer:
        ends = await consumer.end_offsets(places)
        if before is not None:
            ends = {place: before[place.partition] for place in places}
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        deadline = time.monotonic() + seconds
        while True:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    if record.offset < ends[TopicPartition(topic, record.partition)]:
                        take(record)
            # Behind the last record there are transaction markers, which move the position only.
            if all([await consumer.position(place) >= ends[place] for place in places]):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}: the end was not reached in {seconds:g} s")


async def ends(
    bootstrap_servers: str, places: Iterable[TopicPartition], isolation_level: str = "read_committed"
) -> dict[TopicPartition, int]:
    """Return where partitions end: the last stable offset, or the high watermark for `read_uncommitted`."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, isolation_level=isolation_level)
    async with consumer:
        found: dict[TopicPartition, int] = await consumer.end_offsets(list(places))
        return found


async def open_transactions(
    bootstrap_servers: str, topics: Iterable[str], partitions: int
) -> dict[str, tuple[int, int]]:
    """Return where the last stable offset is below the high watermark: both, by topic/partition."""
    places = [TopicPartition(topic, number) for topic in topics for number in range(partitions)]
    stable = await ends(bootstrap_servers, places)
    high = await ends(bootstrap_servers, places, "read_uncommitted")
    return {
        f"{place.topic}/{place.partition}": (stable[place], high[place])
        for place in places
        if stable[place] != high[place]
    }
