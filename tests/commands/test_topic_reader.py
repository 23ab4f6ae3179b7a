"""The reader of one topic, on a real Kafka."""

import re

import pytest

from streams.commands.installation import NotAnswered
from streams.commands.topic_reader import RecordId, TopicReader, UnreadablePlace, read_records
from streams.sandbox.kafka import EmbeddedKafka
from tests.commands.conftest import Make
from tests.commands.topics import Topics, transactional
from tests.integration.topics import producing
from tests.segments import damage, flip_last, segment

pytestmark = pytest.mark.kafka


async def numbers(live: Topics, partition: int, values: range) -> None:
    """Write numbers to a partition of the actions topic, stamped one second after the other."""
    async with producing(live.servers) as producer:
        for number in values:
            await producer.send(
                live.names.actions, b"%d" % number, partition=partition, timestamp_ms=number * 1_000
            )


def reader_of(live: Topics) -> TopicReader:
    return TopicReader(live.names.actions, live.installation.connection)


async def rest(reader: TopicReader) -> dict[int, list[int]]:
    """Read to the ends; returns the numbers by partition."""
    found: dict[int, list[int]] = {}
    async for partition, records in reader.chunks():
        found.setdefault(partition, []).extend(int(record.value) for record in records)
    return found


async def test_what_is_there_is_read_to_its_end(topics: Make) -> None:
    """All partitions, in the order of their offsets; an empty one ends at once."""
    live = await topics(partitions=3)
    await numbers(live, 0, range(10))
    await numbers(live, 2, range(5))
    async with reader_of(live) as reader:
        assert await reader.partitions() == [0, 1, 2]
        await reader.begin_at_the_start([0, 1, 2])
        assert await rest(reader) == {0: list(range(10)), 2: list(range(5))}
        assert (reader.done, reader.records_read) == (True, 15)
        assert await reader.chunk() == {}
        await reader.begin_at_the_start([0, 2], since=7_500)
        assert await rest(reader) == {0: [8, 9]}, "from a time on"
        reader.begin({0: range(3, 5), 2: range(4, 4)})
        assert await rest(reader) == {0: [3, 4]}, "from one offset to another"


async def test_only_committed_records_are_read(topics: Make) -> None:
    """An aborted transaction is passed over, an open one is the end for now."""
    live = await topics(partitions=1)
    await numbers(live, 0, range(2))
    async with transactional(live) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(live.names.actions, b"100", partition=0)
        await producer.abort_transaction()
        await numbers(live, 0, range(2, 4))
        await producer.begin_transaction()
        await producer.send_and_wait(live.names.actions, b"200", partition=0)
        async with reader_of(live) as reader:
            await reader.begin_at_the_start([0])
            assert await rest(reader) == {0: [0, 1, 2, 3]}
        await producer.abort_transaction()


async def test_a_batch_that_cannot_be_read_is_named(topics: Make, kafka: EmbeddedKafka) -> None:
    """It ends the reading with a sentence, unless whoever reads is told and goes on behind it."""
    live = await topics(partitions=1)
    for values in (range(2), range(2, 3), range(3, 4)):
        await numbers(live, 0, values)
    topic = live.names.actions
    damage(segment(kafka, topic), -2, flip_last)
    sentence = f"the record at offset 2 of {topic}/0 cannot be read: its checksum (CRC-32C) is wrong"
    async with reader_of(live) as reader:
        await reader.begin_at_the_start([0])
        with pytest.raises(NotAnswered, match=re.escape(sentence)):
            await rest(reader)
    places: list[UnreadablePlace] = []
    async with TopicReader(topic, live.installation.connection, places.append) as reader:
        await reader.begin_at_the_start([0])
        assert await rest(reader) == {0: [0, 1, 3]}
    assert [str(place) for place in places] == [sentence]


async def test_a_topic_that_is_missing_has_no_partitions_and_is_not_made(topics: Make) -> None:
    """Looking at a topic creates none."""
    live = await topics()
    for _ in range(2):
        async with TopicReader(f"{live.names.actions}-none", live.installation.connection) as reader:
            assert await reader.partitions() == []


async def test_single_records_are_read_by_their_ids(topics: Make) -> None:
    """Those that are there; the others are left out."""
    live = await topics(partitions=2)
    await numbers(live, 1, range(20))
    wanted = [RecordId(1, 3), RecordId(1, 19), RecordId(1, 20), RecordId(0, 0)]
    found = await read_records(live.names.actions, live.installation.connection, wanted)
    assert {record_id: record.value for record_id, record in found.items()} == {
        RecordId(1, 3): b"3",
        RecordId(1, 19): b"19",
    }
