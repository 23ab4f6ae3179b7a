"""What must hold after any fault, seen by clients that are not the worker's."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record import MemoryRecords

from streams.sandbox.worker import Installation, WorkerProcess
from tests.chaos.reading import open_transactions
from tests.integration.topics import action, keyed, producing, read_count


def reason_of(worker: WorkerProcess) -> str:
    """Return why a worker ended by itself: the last line of its log says it."""
    line = orjson.loads(worker.tail(1))
    assert line["event"] == "crashed", worker.tail(40)
    return str(line["message"])


async def act(
    place: Installation, numbers: Iterable[int], partition: int | None = None, supporter: int | None = None
) -> list[int]:
    """Write actions with these numbers; return the numbers.

    Of `supporter`, else of somebody who belongs into `partition`, else of everybody's own.
    """
    written = list(numbers)
    if partition is not None and supporter is None:
        supporter = supporter_in(partition, int(place.settings["TOPIC_PARTITIONS"]))
    async with producing(place.bootstrap_servers, enable_idempotence=True) as producer:
        for number in written:
            key, value = keyed(action(number, supporter=supporter))
            await producer.send_and_wait(place.names.actions, value, key=key)
    return written


def supporter_in(partition: int, partitions: int, nth: int = 0) -> int:
    """Return the number of the nth supporter whose key the default partitioner puts into `partition`."""
    everywhere = list(range(partitions))
    choose = DefaultPartitioner()
    found = (
        number
        for number in range(1_000, 100_000)
        if choose(keyed(action(number))[0], everywhere, everywhere) == partition
    )
    return next(islice(found, nth, None))


async def assert_kept(place: Installation, numbers: Iterable[int], seconds: float = 40) -> list[Any]:
    """Every action has its one email for a read_committed reader, and no transaction is left open."""
    expected = Counter(numbers)
    records = await read_count(place.bootstrap_servers, place.names.emails, expected.total(), seconds=seconds)
    found = Counter(orjson.loads(record.value)["actionId"] for record in records)
    lost, doubled = expected - found, found - expected
    assert not lost, f"lost {dict(lost)}, doubled {dict(doubled)}\n{place.workers[-1].tail(40)}"
    if doubled:
        raise AssertionError(f"doubled {dict(doubled)}\n{await batches(place, place.names.emails)}")
    await assert_no_transaction_open(place)
    return records


async def batches(place: Installation, topic: str) -> str:
    """Describe every batch of a topic, markers and aborted ones included: what a post-mortem begins with."""
    consumer = AIOKafkaConsumer(bootstrap_servers=place.bootstrap_servers)
    await consumer.start()
    try:
        lines = []
        client = consumer._client
        await client.set_topics([topic])
        for partition in sorted(client.cluster.partitions_for_topic(topic)):
            leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
            request = FetchRequest(100, 1, 50 << 20, 0, [(topic, [(partition, 0, 50 << 20)])])
            response = await client.send(leader, request)
            for *_, raw in response.topics[0][1]:
                records = MemoryRecords(raw)
                while records.has_next():
                    batch = records.next_batch()
                    kind = "marker" if batch.is_control_batch else "records"
                    lines.append(
                        f"partition {partition} offsets {batch.base_offset} to {batch.next_offset - 1} {kind}"
                        f" producer {batch.producer_id} epoch {batch.producer_epoch}"
                        f" sequence {batch.base_sequence}"
                    )
        return "\n".join(lines)
    finally:
        await consumer.stop()


async def assert_no_transaction_open(place: Installation, seconds: float = 8) -> None:
    """On both output topics the last stable offset reaches the high watermark."""
    until = time.monotonic() + seconds
    partitions = int(place.settings["TOPIC_PARTITIONS"])
    outputs = (place.names.emails, place.names.dead_letters)
    while found := await open_transactions(place.bootstrap_servers, outputs, partitions):
        assert time.monotonic() < until, f"open transactions: {found}"
        await asyncio.sleep(0.2)
