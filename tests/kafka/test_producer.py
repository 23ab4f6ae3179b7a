"""Many records of one partition at once, on a real Kafka."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import faust
import pytest
from aiokafka.errors import MessageSizeTooLargeError
from faust.exceptions import NotReady

from streams.kafka.faust_driver import SCHEME, ChunkProducer
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import make_topics
from tests.integration.topics import read_count

Row = tuple[bytes | None, bytes | None, list[Any]]


def producer_of(servers: str) -> ChunkProducer:
    app = faust.App("test", env={}, broker=f"{SCHEME}://{servers}", store="memory://")
    producer = app.transport.create_producer()
    assert isinstance(producer, ChunkProducer)
    return producer


@pytest.fixture
async def producer(kafka: EmbeddedKafka) -> AsyncIterator[ChunkProducer]:
    made = producer_of(kafka.bootstrap_servers)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def topic(kafka: EmbeddedKafka, unique_name: Callable[[str], str]) -> str:
    """A topic of two partitions that takes records up to 100,000 bytes."""
    name = unique_name("many")
    await make_topics(kafka.bootstrap_servers, 2, name, max_message_bytes="100000")
    return name


@pytest.mark.kafka
async def test_rows_are_written_in_order_into_their_partition(
    kafka: EmbeddedKafka, producer: ChunkProducer, topic: str
) -> None:
    """Far more than a batch holds: all are there once, in order, and the last one's offset is returned."""
    rows: list[Row] = [(b"%d" % number, b"x" * 100, []) for number in range(3_000)]
    assert await producer.send_many(topic, 1, iter(rows)) == 2_999
    assert await producer.send_many(topic, 1, [(b"more", b"", [])]) == 3_000
    records = await read_count(kafka.bootstrap_servers, topic, 3_001)
    assert {record.partition for record in records} == {1}
    assert [record.offset for record in records] == list(range(3_001))
    assert [record.key for record in records] == [b"%d" % number for number in range(3_000)] + [b"more"]


@pytest.mark.kafka
async def test_every_kind_of_row_can_be_written(
    kafka: EmbeddedKafka, producer: ChunkProducer, topic: str
) -> None:
    """Tombstones, rows without key, without anything, and headers as they come, also without a value."""
    rows: list[Row] = [
        (b"k", None, []),
        (None, b"v", [("a", b"1"), ("a", b"2")]),
        (None, None, [("empty", None)]),
        (b"large", b"x" * 50_000, []),  # larger than a whole batch
        (b"last", b"v", []),
    ]
    assert await producer.send_many(topic, 0, rows) == 4
    records = await read_count(kafka.bootstrap_servers, topic, 5)
    assert [(record.key, record.value, list(record.headers)) for record in records] == rows


@pytest.mark.kafka
async def test_nothing_is_written_for_no_rows(producer: ChunkProducer, topic: str) -> None:
    """No rows, no offset."""
    assert await producer.send_many(topic, 0, []) is None


@pytest.mark.kafka
async def test_a_row_without_room_is_an_error(producer: ChunkProducer, topic: str) -> None:
    """What the topic does not take is told to the caller, and the producer goes on."""
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send_many(topic, 0, [(b"k", b"x" * 200_000, [])])
    assert await producer.send_many(topic, 0, [(b"k", b"v", [])]) == 0


async def test_before_its_start_a_producer_says_so() -> None:
    """Nothing is taken that could not be written."""
    with pytest.raises(NotReady):
        await producer_of("127.0.0.1:1").send_many("topic", 0, [(b"k", b"v", [])])
