"""A broker of a few lines, to which the worker's own transactions and batches are written."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.structs import OffsetAndMetadata

from streams.delivery import kafka_transaction
from streams.delivery.batches import Batch, InvalidRecordError
from streams.delivery.transaction import Position
from tests.fuzz.wire import placed, read

Place = tuple[str, int]


class Broker:
    """Keeps what is committed, and refuses what a broker refuses for its content."""

    def __init__(self, max_message_bytes: dict[str, int], compacted: Iterable[str]) -> None:
        self.limits = max_message_bytes
        self.compacted = frozenset(compacted)
        #: What the group has committed, by the partition that is read.
        self.positions: dict[TopicPartition, Position] = {}
        #: The bytes of each partition's log.
        self.logs: dict[Place, bytearray] = defaultdict(bytearray)
        self._ends: dict[Place, int] = defaultdict(int)

    def written(self, topic: str, partition: int) -> list[Any]:
        """The records of a partition, as a consumer reads them."""
        return list(read(bytes(self.logs[topic, partition]), topic, partition))

    def check(self, topic: str, batch: bytes) -> None:
        """Raise what a broker would answer."""
        if len(batch) > self.limits[topic]:
            raise MessageSizeTooLargeError
        if topic in self.compacted and any(record.key is None for record in read(batch)):
            raise InvalidRecordError

    def keep(self, place: Place, batch: bytes, count: int) -> None:
        """Put a batch behind the others."""
        self.logs[place] += placed(batch, self._ends[place])
        self._ends[place] += count

    async def committed(self, place: TopicPartition) -> Position:
        """The group's position in a partition that is read."""
        return self.positions[place]

    def serving(self) -> AbstractContextManager[object]:
        """Let every transaction be written here."""

        def driver(producer: Any, _group: str) -> Driver:
            return Driver(self, producer)

        return mock.patch.object(kafka_transaction, "TransactionDriver", driver)


class Driver:
    """The transactions of one partition, whose batches go to a `Broker` and not onto a network."""

    def __init__(self, broker: Broker, producer: AIOKafkaProducer) -> None:
        self.producer = producer
        self._broker = broker
        self._open: list[tuple[Place, bytes, int]] = []
        self._offsets: dict[TopicPartition, Position] = {}

    async def start(self) -> None:
        """Connect to nothing."""

    async def write(self, batches: Sequence[Batch]) -> list[Exception | None]:
        assert not self._open
        results: list[Exception | None] = [None] * len(batches)
        for number, (topic, partition, builder, _) in enumerate(batches):
            count = builder.record_count()
            builder._set_producer_state(7, 0, 0)
            raw = bytes(builder._build())
            try:
                self._broker.check(topic, raw)
            except Exception as exc:  # the broker's answer
                results[number] = exc
                break
            self._open.append(((topic, partition), raw, count))
        return results

    async def add_offsets(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], member: None) -> None:
        assert member is None, "this broker has no group"
        self._offsets = {place: Position(*offset) for place, offset in offsets.items()}

    async def commit(self) -> None:
        for to, raw, count in self._open:
            self._broker.keep(to, raw, count)
        self._open = []
        self._broker.positions |= self._offsets

    async def abort(self) -> None:
        self._open, self._offsets = [], {}


class Producer(AIOKafkaProducer):
    """aiokafka's producer outside transactions, whose batches go to a `Broker` and not onto a network."""

    def __init__(self, broker: Broker, **options: Any) -> None:
        super().__init__(**options)
        self._broker = broker
        self._closed = True  # else it complains when it goes

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> "asyncio.Future[None]":
        count = batch.record_count()
        raw = bytes(batch._build())
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._broker.check(topic, raw)
        except Exception as exc:  # the broker's answer
            answer.set_exception(exc)
            return answer
        answer.set_result(None)
        self._broker.keep((topic, partition), raw, count)
        return answer
