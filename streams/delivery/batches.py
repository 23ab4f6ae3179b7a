"""Fills produce batches with a transaction's records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from streams.delivery.transaction import Outgoing, RecordTooLarge

#: A produce request carries at most so much of one partition; well under the default ``max.message.bytes``.
BATCH_BYTES = 900_000


class Batch(NamedTuple):
    """Records of one partition that go to the broker in one piece."""

    topic: str
    partition: int
    builder: Any  # aiokafka's BatchBuilder, not closed yet
    first: int  # index of its first record in the transaction


def fill_batches(
    producer: Any,
    records: Iterable[Outgoing],
    own_partition: int | None,
    max_message_bytes: Mapping[str, int],
) -> list[Batch]:
    """Return `records` in batches, in their order within each partition.

    Args:
        producer: an AIOKafkaProducer, whose ``max_batch_size`` says when a batch is full.
        records: what is to be written.
        own_partition: of a record that names none; None: every record names one.
        max_message_bytes: of each topic that records go to.

    Raises:
        RecordTooLarge: a record alone exceeds what its topic takes.
    """
    batches: list[Batch] = []
    filling: dict[tuple[str, int | None], Any] = {}
    topic = partition = batch = None
    for index, record in enumerate(records):
        to_topic, key, value, headers, to_partition, timestamp = record
        if to_topic != topic or to_partition != partition:  # seldom
            topic, partition = to_topic, to_partition
            batch = filling.get((to_topic, to_partition))
        if batch is None or batch.append(timestamp=timestamp, key=key, value=value, headers=headers) is None:
            batch = filling[to_topic, to_partition] = producer.create_batch()
            place = own_partition if to_partition is None else to_partition
            assert place is not None
            batches.append(Batch(to_topic, place, batch, index))
            # The first record of a batch is always taken, whatever its size.
            batch.append(timestamp=timestamp, key=key, value=value, headers=headers)
            limit = max_message_bytes[to_topic]
            if batch.size() > limit:
                raise RecordTooLarge(index, limit)
    return batches
