"""The limit: a bare aiokafka loop with the same transactions, one for each fetched chunk of each partition.

No retries, no rebalances, no lookups, no metrics: what is left when everything but the job is left out.
"""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from job import ACTIONS, EMAILS, GROUP, SERVERS, STATUSES, read_status, write

CHUNK = 2_000
METADATA = "x" * 64  # as long as ours usually is


async def statuses() -> dict[bytes, bool]:
    """Read the whole status topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=SERVERS, auto_offset_reset="earliest")
    await consumer.start()
    places = [TopicPartition(STATUSES, number) for number in await _partitions(consumer, STATUSES)]
    consumer.assign(places)
    ends = await consumer.end_offsets(places)
    table: dict[bytes, bool] = {}
    while any([await consumer.position(place) < ends[place] for place in places]):
        for records in (await consumer.getmany(timeout_ms=200)).values():
            table.update((record.key, read_status(record.value).subscribed) for record in records)
    await consumer.stop()
    return table


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    while True:
        await consumer._client.force_metadata_update()
        found = await consumer._client._wait_on_metadata(topic) or consumer.partitions_for_topic(topic)
        if found:
            return found
        await asyncio.sleep(0.1)


async def main() -> None:
    """Read, decide, write, for ever."""
    table = await statuses()
    consumer = AIOKafkaConsumer(
        ACTIONS,
        bootstrap_servers=SERVERS,
        group_id=GROUP,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 << 20,
    )
    await consumer.start()
    while not consumer.assignment():  # noqa: ASYNC110 - a bare loop has no listener
        await asyncio.sleep(0.05)
    producers = {}
    for place in consumer.assignment():
        producers[place] = AIOKafkaProducer(
            bootstrap_servers=SERVERS,
            max_batch_size=900_000,
            linger_ms=0,
            transactional_id=f"{GROUP}-{place.partition}",
        )
        await producers[place].start()

    async def transaction(place: TopicPartition, records: list) -> None:
        producer = producers[place]
        await producer.begin_transaction()
        sent, batch = [], producer.create_batch()
        for record in records:
            value = write(record.value, table.get(record.key))
            if batch.append(key=record.key, value=value, timestamp=None) is None:
                batch.close()
                sent.append(await producer.send_batch(batch, EMAILS, partition=place.partition))
                batch = producer.create_batch()
                batch.append(key=record.key, value=value, timestamp=None)
        batch.close()
        sent.append(await producer.send_batch(batch, EMAILS, partition=place.partition))
        await asyncio.gather(*sent)
        offsets = {place: OffsetAndMetadata(records[-1].offset + 1, METADATA)}
        await producer.send_offsets_to_transaction(offsets, GROUP)
        await producer.commit_transaction()

    while True:
        chunks = await consumer.getmany(timeout_ms=200, max_records=CHUNK)
        await asyncio.gather(*(transaction(place, records) for place, records in chunks.items()))


asyncio.run(main())
