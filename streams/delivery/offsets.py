"""What the cluster knows of offsets: a group's committed ones, and where a partition begins and ends."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CoordinatorNotAvailableError, IncompatibleBrokerVersion, for_code

from streams.delivery.transaction import Position
from streams.delivery.transaction_protocol import UnstableOffsetCommitError
from streams.delivery.transaction_requests import NO_TAGS, OffsetFetchRequest_v7

#: Seconds until the end of an undecided transaction is asked for again; twice as long each time, up to the
#: second number.
_DECIDED_AFTER, _DECIDED_AT_MOST = 0.01, 0.2


class Extent(NamedTuple):
    """Where a partition's log begins, and the offset that the next record will get (the high watermark)."""

    first: int
    end: int


class Offsets:
    """Reads offsets over two connections that all lanes share."""

    def __init__(self, group: str, connection: Mapping[str, Any]) -> None:
        """Prepare for consumer group `group`; `connection` is what every client needs."""
        self._group = group
        self._connection = connection
        self._starting = asyncio.Lock()
        self._admin: AIOKafkaAdminClient | None = None
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Connect. Raises KafkaError when no broker can be reached."""
        async with self._starting:
            if self._admin is None:
                admin = AIOKafkaAdminClient(**self._connection)
                await admin.start()
                self._admin = admin
            if self._consumer is None:
                consumer = AIOKafkaConsumer(**self._connection, enable_auto_commit=False)
                await consumer.start()
                self._consumer = consumer

    async def stop(self) -> None:
        """Disconnect."""
        if self._admin is not None:
            await self._admin.close()
        if self._consumer is not None:
            await self._consumer.stop()
        self._admin = self._consumer = None

    async def admin(self) -> AIOKafkaAdminClient:
        """Return the connection for questions that are not about the group; raises KafkaError."""
        if self._admin is None:
            await self.start()
        assert self._admin is not None
        return self._admin

    async def committed(self, topic_partition: TopicPartition) -> Position:
        """Return what the group has committed for a partition."""
        return (await self.all_committed([topic_partition]))[topic_partition]

    async def decided(self, topic_partition: TopicPartition) -> Position:
        """Return what the group has committed for a partition, once no transaction with it is undecided.

        Waits for the end of such a transaction; a broker before Kafka 2.5 cannot tell, and nobody waits.

        Raises:
            KafkaError: the cluster cannot say.
        """
        admin = await self.admin()
        topic, partition = topic_partition
        request = OffsetFetchRequest_v7(self._group, [(topic, [partition], NO_TAGS)], True, NO_TAGS)
        coordinator = await admin.find_coordinator(self._group)
        pause = _DECIDED_AFTER
        while True:
            try:
                answer = await admin._send_request(request, coordinator)
            except IncompatibleBrokerVersion:
                return await self.committed(topic_partition)
            if answer.error_code:
                raise for_code(answer.error_code)("of the whole answer")
            ((_, ((_, offset, _, metadata, code, _),), _),) = answer.topics
            if for_code(code) is not UnstableOffsetCommitError:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, _DECIDED_AT_MOST)
        if code:
            raise for_code(code)("of the partition")
        return Position(offset if offset >= 0 else None, metadata or "")

    async def all_committed(
        self, topic_partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, Position]:
        """Return what the group has committed for each of these partitions.

        Raises:
            KafkaError: the cluster cannot say. It never stands for "nothing was committed".
        """
        wanted = list(topic_partitions)
        found = await (await self.admin()).list_consumer_group_offsets(self._group, partitions=wanted)
        positions = {}
        for topic_partition in wanted:
            if topic_partition not in found:
                # A good answer names every partition that was asked for, with -1 where nothing is committed.
                # A coordinator that is still loading names none (OffsetFetch from version 2: one error for
                # the whole answer, which aiokafka does not look at).
                raise CoordinatorNotAvailableError("no answer for some partitions")
            offset, metadata = found[topic_partition]
            positions[topic_partition] = Position(offset if offset >= 0 else None, metadata or "")
        return positions

    async def extents(self, topic_partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Extent]:
        """Return where each of these partitions begins and ends."""
        wanted = list(topic_partitions)
        if self._consumer is None:
            await self.start()
        assert self._consumer is not None
        first = await self._consumer.beginning_offsets(wanted)
        end = await self._consumer.end_offsets(wanted)
        return {
            topic_partition: Extent(first[topic_partition], end[topic_partition])
            for topic_partition in wanted
        }
