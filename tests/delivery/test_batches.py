"""The batches of a transaction, filled by a real producer that is never connected."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer

from streams.delivery.batches import fill_batches
from streams.delivery.fetched import InBatch
from streams.delivery.transaction import BatchRefused, Outgoing, RecordTooLarge
from tests.delivery.fakes import FakeBatch

LIMITS = {"emails": 10_000, "dlq": 100_000}


def email(size: int, partition: int | None = None, topic: str = "emails") -> Outgoing:
    return Outgoing(topic, b"key", b"x" * size, [("name", b"value")], partition)


async def filled(*records: Outgoing, correction: float = 0.0) -> list[tuple[str, int, int, int]]:
    """Topic, partition, number of records, and index of the first one, for each batch."""
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", max_batch_size=1_000)
    batches = fill_batches(producer, records, 5, LIMITS, correction=correction)
    return [(each.topic, each.partition, each.builder.record_count(), each.first) for each in batches]


async def test_a_batch_holds_one_partition_s_records() -> None:
    """Records of two partitions and two topics are told apart, and without a partition it is our own."""
    assert await filled(email(10), email(10, 3), email(10), email(10, 3, "dlq"), email(10, 3)) == [
        ("emails", 5, 2, 0),
        ("emails", 3, 2, 1),
        ("dlq", 3, 1, 3),
    ]


async def test_a_full_batch_is_followed_by_another() -> None:
    """Every record is in one of them, and each batch knows where it begins."""
    assert await filled(*[email(300)] * 5) == [
        ("emails", 5, 2, 0),
        ("emails", 5, 2, 2),
        ("emails", 5, 1, 4),
    ]


async def test_a_record_beyond_the_batch_size_has_its_own_batch() -> None:
    """The producer's batch size is no limit for a single record; that of its topic is."""
    assert await filled(email(10), email(5_000), email(10)) == [
        ("emails", 5, 1, 0),
        ("emails", 5, 1, 1),
        ("emails", 5, 1, 2),
    ]
    with pytest.raises(RecordTooLarge) as refused:
        await filled(email(10), email(10_000))
    assert (refused.value.index, refused.value.limit) == (1, 10_000)
    assert len(await filled(email(10_000, topic="dlq"))) == 1


async def test_what_a_pass_has_filled_goes_as_it_is_once_and_where_it_stands() -> None:
    """Emails before it and after it are in batches of their own, so that the order stays."""
    batch, empty = FakeBatch(), FakeBatch()
    for _ in range(2):
        batch.append(timestamp=0, key=b"key", value=b"value", headers=[])
    run, joined = (InBatch.of(email(0), batch) for _ in range(2))
    letter = email(10, topic="dlq")
    assert await filled(email(10), run, letter, joined, email(10), InBatch.of(email(0), empty)) == [
        ("emails", 5, 1, 0),
        ("emails", 5, 2, 1),
        ("dlq", 5, 1, 2),
        ("emails", 5, 1, 4),
    ]


async def test_what_a_pass_has_filled_and_its_topic_no_longer_takes_is_refused_as_a_batch() -> None:
    """Its records may fit in smaller batches: none of them is refused."""
    batch = FakeBatch()
    batch.append(timestamp=0, key=b"key", value=b"x" * 10_001, headers=[])
    with pytest.raises(BatchRefused):
        await filled(InBatch.of(email(0), batch))


async def test_what_a_pass_has_filled_before_the_clock_was_known_to_be_wrong_is_refused_as_a_batch() -> None:
    """It has the machine's time: sent so, it would make the broker refuse a correction that is right."""
    batch = FakeBatch()
    batch.append(timestamp=0, key=b"key", value=b"value", headers=[])
    assert await filled(InBatch.of(email(0), batch)) == [("emails", 5, 1, 0)]
    with pytest.raises(BatchRefused):
        await filled(InBatch.of(email(0), batch), correction=-3_600.0)
