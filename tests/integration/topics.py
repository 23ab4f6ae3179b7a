"""Writing actions and statuses, and reading what became of them, independently of the app."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.sandbox.people import AS_OF, ORG_ID, numbered


def action(number: int, *, org_id: int = ORG_ID, supporter: int | None = None, **more: Any) -> dict[str, Any]:
    """Return a small action that asks for a confirmation; of the supporter with its number by default."""
    return numbered(number if supporter is None else supporter, org_id).action(number, **more)


def keyed(document: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return an action's key and value."""
    return b"%d:%s" % (document["orgId"], document["contact"]["contactRef"].encode()), orjson.dumps(document)


def status(
    supporter: int, subscribed: bool, *, org_id: int = ORG_ID, as_of: str = AS_OF
) -> tuple[bytes, bytes]:
    """Return a supporter status row's key and value."""
    row = numbered(supporter, org_id)
    return row.key, row.status(subscribed=subscribed, as_of=as_of)


def producing(bootstrap_servers: str, **options: Any) -> AIOKafkaProducer:
    """Return a producer of large batches, for ``async with``."""
    usual = {"linger_ms": 5, "max_batch_size": 1 << 18, "max_request_size": 4 << 20}
    return AIOKafkaProducer(bootstrap_servers=bootstrap_servers, **{**usual, **options})


async def send(
    bootstrap_servers: str,
    topic: str,
    messages: Iterable[tuple[bytes | None, bytes | None]],
    *,
    rate: float | None = None,
    headers: list[tuple[str, bytes]] | None = None,
) -> list[tuple[int, int]]:
    """Send (key, value) messages, at most `rate` a second; return each one's partition and offset."""
    async with producing(bootstrap_servers) as producer:
        sent = []
        started = time.monotonic()
        for number, (key, value) in enumerate(messages, 1):
            sent.append(await producer.send(topic, value, key=key, headers=headers))
            if number % 500 == 0:
                await asyncio.sleep(
                    max(0.0, number / rate - (time.monotonic() - started)) if rate is not None else 0
                )
        return [(place.partition, place.offset) for place in await asyncio.gather(*sent)]


async def read(
    bootstrap_servers: str,
    topic: str,
    until: Callable[[list[Any]], bool],
    *,
    seconds: float = 60,
    isolation_level: str = "read_committed",
) -> list[Any]:
    """Read a topic from its beginning until `until` says that it is enough, or time is up."""
    async with producing(bootstrap_servers) as producer:
        partitions = await producer.partitions_for(topic)
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, isolation_level=isolation_level
    ) as consumer:
        places = [TopicPartition(topic, partition) for partition in partitions]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        records: list[Any] = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not until(records):
            for found in (await consumer.getmany(timeout_ms=100)).values():
                records += found
        return records


async def read_count(bootstrap_servers: str, topic: str, count: int, *, seconds: float = 60) -> list[Any]:
    """Read until there are `count` records, then a moment longer: one too many must not be overlooked."""
    records = await read(bootstrap_servers, topic, lambda found: len(found) >= count, seconds=seconds)
    more = await read(bootstrap_servers, topic, lambda found: len(found) > count, seconds=1.0)
    return more if len(more) > len(records) else records
