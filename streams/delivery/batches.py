"""Fills produce batches with records, and tells which refusals are about what is in a record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.errors import (
    BrokerResponseError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    kafka_errors,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from streams.delivery.fetched import InBatch
from streams.delivery.transaction import BatchRefused, Outgoing, RecordRefused, RecordTooLarge

#: A produce request carries at most so much of one partition; well under the default ``max.message.bytes``.
BATCH_BYTES = 900_000


class InvalidRecordError(BrokerResponseError):  # type: ignore[misc]  # aiokafka ships no types
    """The broker does not take a record as it is, for example one without a key in a compacted topic."""

    errno = 87
    message = "INVALID_RECORD"
    description = "This record has failed the validation on the broker and hence will be rejected."


# aiokafka does not know this error: without a name it cannot be told from a fault of the broker.
kafka_errors.setdefault(InvalidRecordError.errno, InvalidRecordError)

TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
#: Refusals for what is in a record: written again as it is, the record would be refused again.
REFUSED = (*TOO_LARGE, InvalidRecordError)


class Batch(NamedTuple):
    """Records of one partition that go to the broker in one piece."""

    topic: str
    partition: int
    builder: Any  # aiokafka's BatchBuilder, not closed yet, or what a pass has filled
    first: int  # index of its first record in the transaction


def fill_batches(
    producer: Any,
    records: Iterable[Outgoing],
    own_partition: int | None,
    max_message_bytes: Mapping[str, int],
    cuts: Collection[int] = (),
    correction: float = 0.0,
) -> list[Batch]:
    """Return `records` in batches, in their order within each partition.

    Args:
        producer: an AIOKafkaProducer, whose ``max_batch_size`` says when a batch is full.
        records: what is to be written.
        own_partition: of a record that names none; None: every record names one.
        max_message_bytes: of each topic that records go to.
        cuts: ``id()`` of each record that begins a new batch in any case.
        correction: seconds to add to this machine's clock for the timestamps.

    Raises:
        RecordTooLarge: a record alone exceeds what its topic takes.
        BatchRefused: what a pass has filled exceeds it, or was filled before `correction` was known; its
            records are to be written one by one.
    """
    batches: list[Batch] = []
    filling: dict[tuple[str, int | None], Any] = {}
    topic = partition = batch = None
    at = int((time.time() + correction) * 1000)
    for index, record in enumerate(records):
        to_topic, key, value, headers, to_partition = record
        if type(record) is InBatch:
            filled = record.batch
            if filled.record_count() and not any(batch.builder is filled for batch in batches):
                assert own_partition is not None, "a pass has one"
                batches.append(Batch(to_topic, own_partition, filled, index))
                if filled.size() > max_message_bytes[to_topic]:
                    raise BatchRefused("BatchTooLarge")
                if correction:  # its timestamps are those of a clock that is known to be wrong by now
                    raise BatchRefused("InvalidTimestampError")
            filling.pop((to_topic, to_partition), None)  # what follows it begins another one
            topic = None
            continue
        if to_topic != topic or to_partition != partition:  # seldom
            topic, partition = to_topic, to_partition
            batch = filling.get((to_topic, to_partition))
        if cuts and id(record) in cuts:
            batch = None
        try:
            if batch is not None and batch.append(timestamp=at, key=key, value=value, headers=headers):
                continue
            batch = producer.create_batch()
            # The first record of a batch is always taken, whatever its size.
            batch.append(timestamp=at, key=key, value=value, headers=headers)
        except UnicodeEncodeError:  # the name of a header is not UTF-8
            batch = _RawNamesBatch(producer, key, value, headers, at)
        filling[to_topic, to_partition] = batch
        place = own_partition if to_partition is None else to_partition
        assert place is not None
        batches.append(Batch(to_topic, place, batch, index))
        limit = max_message_bytes[to_topic]
        if batch.size() > limit:
            raise RecordTooLarge(index, limit, batch.size())
    return batches


async def send_batches(producer: Any, batches: Iterable[Batch]) -> list[Any]:
    """Send batches, and return for each what the broker says: its place, or an exception."""
    deliveries = []
    for topic, partition, builder, _ in batches:
        builder.close()
        deliveries.append(await producer.send_batch(builder, topic, partition=partition))
    return await asyncio.gather(*deliveries, return_exceptions=True)


async def write(producer: Any, records: Sequence[Outgoing], max_message_bytes: Mapping[str, int]) -> None:
    """Write records outside a transaction; each names its partition.

    Raises:
        RecordRefused: a batch that begins with this record was refused for what is in it.
        KafkaError: some may be written, some not.
    """
    batches = fill_batches(producer, records, None, max_message_bytes)
    for batch, result in zip(batches, await send_batches(producer, batches), strict=True):
        if isinstance(result, TOO_LARGE):
            raise RecordTooLarge(batch.first, max_message_bytes[batch.topic], batch.builder.size())
        if isinstance(result, REFUSED):
            raise RecordRefused(batch.first)
        if isinstance(result, BaseException):
            raise result


class _RawNamesBatch(BatchBuilder):  # type: ignore[misc]  # aiokafka ships no types
    """A batch of one record, some of whose headers have names that are not UTF-8.

    aiokafka's fast writer takes nothing but UTF-8; its slow one asks the name for its bytes.
    """

    def __init__(
        self, producer: Any, key: bytes | None, value: bytes | None, headers: Any, timestamp: int
    ) -> None:
        transactions = producer._txn_manager
        transactional = transactions is not None and transactions.transactional_id is not None
        super().__init__(BATCH_BYTES, 0, is_transactional=transactional)
        self._builder = _DefaultRecordBatchBuilderPy(
            magic=2,
            compression_type=0,
            is_transactional=transactional,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=0,
            batch_size=BATCH_BYTES,
        )
        named = [(_RawName(name), text) for name, text in headers]
        self.append(timestamp=timestamp, key=key, value=value, headers=named)
        self.close()

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._builder.set_producer_state(producer_id, producer_epoch, base_sequence)  # without a type check


class _RawName(str):
    """The name of a header, as :mod:`streams.kafka.record_batches` reads it."""

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:
        return super().encode(encoding, errors)
