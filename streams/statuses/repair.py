"""Brings back stores that could not be used, while the worker goes on.

What a store lacks is read from the changelog by a reader of its own, so that no other partition waits. While
it is away nothing is written to its partition's changelog (nobody could tell which of two rows is newer), so
it is soon complete.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.delivery.offsets import Offsets
from streams.kafka.fetching import hand_over_stand_ins
from streams.kafka.record_batches import read_any_batch
from streams.kafka.unserved import read_unserved
from streams.statuses.recovery import behind_unreadable
from streams.statuses.store_owner import SetAside
from streams.statuses.table import StatusTable, StoreAway

log = logging.getLogger(__name__)


class StoreRepair:
    """Tries, one partition after another, until no store is away."""

    #: Seconds between two attempts.
    RETRY_EVERY = 1.0
    #: Seconds that an attempt may read for the rows that were written after its first pass.
    LAST_ROWS_WITHIN = 30.0

    def __init__(
        self,
        statuses: StatusTable,
        *,
        changelog: str,
        connection: Mapping[str, Any],
        offsets: Offsets,
        partitions: Callable[[], Collection[int]],
    ) -> None:
        """Describe what to repair; nothing is connected yet.

        Args:
            statuses: the table. One in memory needs no repair.
            changelog: the topic that the store is a copy of.
            connection: what every Kafka client is given.
            offsets: the cluster's.
            partitions: those whose actions are ours at the moment. What a standby lacks is read when the
                partition becomes ours.
        """
        self._statuses = statuses
        self._changelog = changelog
        self._connection = connection
        self._offsets = offsets
        self._partitions = partitions

    async def run(self) -> None:
        """Repair, for ever."""
        while True:
            await asyncio.sleep(self.RETRY_EVERY)
            store = self._statuses.store
            for partition in filter(self._statuses.away, sorted(self._partitions())):
                try:
                    await self._repair(store, partition)
                except (StoreAway, TimeoutError):
                    continue  # the store has said why
                except (KafkaError, OSError) as exc:
                    log.warning(
                        "the store of partition %d is not restored yet (%s)",
                        partition,
                        type(exc).__name__,
                        extra={"event": "store_not_restored", "partition": partition},
                    )

    async def _repair(self, store: Any, partition: int) -> None:
        contained = store.begin_return(partition)
        read_any_batch()
        consumer = AIOKafkaConsumer(
            **self._connection, isolation_level="read_committed", enable_auto_commit=False
        )
        topic_partition = TopicPartition(self._changelog, partition)
        try:
            await consumer.start()
            read_unserved(consumer._fetcher)
            hand_over_stand_ins(consumer._fetcher)
            consumer.assign([topic_partition])
            first, end = (await self._offsets.extents([topic_partition]))[topic_partition]
            if contained is not None and contained >= end:
                store.set_aside(partition, SetAside.AHEAD)
                return
            consumer.seek(topic_partition, first if contained is None else max(first, contained + 1))
            await self._read(consumer, store, topic_partition, end)
            async with self._statuses.lock(partition), asyncio.timeout(self.LAST_ROWS_WITHIN):
                _, end = (await self._offsets.extents([topic_partition]))[topic_partition]
                await self._read(consumer, store, topic_partition, end)
                store.end_return(partition)
        finally:
            await consumer.stop()

    @staticmethod
    async def _read(
        consumer: AIOKafkaConsumer, store: Any, topic_partition: TopicPartition, end: int
    ) -> None:
        """Put into the store what lies before `end`. Raises StoreAway, KafkaError."""
        while await consumer.position(topic_partition) < end:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                last = records[-1].offset
                topic, partition = topic_partition
                if (known_from := behind_unreadable(topic, partition, records)) is not None:
                    store.set_aside(partition, SetAside.UNREADABLE)
                    store.begin_return(partition)
                    records = known_from
                changes = {record.key: record.value for record in records if record.key is not None}
                store.write_returning(partition, changes, last)
        if end:
            store.write_returning(topic_partition.partition, {}, end - 1)
