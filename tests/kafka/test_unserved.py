"""Batches that a broker does not find in its own log, on a real Kafka."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.kafka.fetch_sessions import fetch_in_sessions
from streams.kafka.fetching import hand_over_stand_ins
from streams.kafka.record_batches import read_any_batch
from streams.kafka.unserved import read_unserved
from streams.messages.unreadable import UnreadableRecords
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import happens, make_topics
from tests.integration.topics import producing
from tests.segments import damage, flip_last, no_length, segment, wrong_length

pytestmark = pytest.mark.kafka

COUNT = 3  # batches, of two records each


async def written(kafka: EmbeddedKafka, topic: str) -> None:
    await make_topics(kafka.bootstrap_servers, 1, topic)
    async with producing(kafka.bootstrap_servers) as producer:
        for number in range(COUNT):
            batch = producer.create_batch()
            for offset in (2 * number, 2 * number + 1):
                batch.append(timestamp=None, key=None, value=b"%d" % offset)
            batch.close()
            await (await producer.send_batch(batch, topic, partition=0))


async def read(
    kafka: EmbeddedKafka, topic: str, begin: int, in_sessions: bool = False
) -> tuple[list[int], list[int]]:
    """Read to the end; return the offsets that were read, and those that cannot be."""
    read_any_batch()
    sound: list[int] = []
    lost: list[int] = []
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers, isolation_level="read_committed"
    ) as consumer:
        if in_sessions:
            fetch_in_sessions(consumer._fetcher)
        read_unserved(consumer._fetcher)
        hand_over_stand_ins(consumer._fetcher)
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, begin)

        async def ended() -> bool:
            for record in (await consumer.getmany(timeout_ms=100)).get(partition, ()):
                if type(record) is UnreadableRecords:
                    lost.extend(range(max(begin, record.first_offset), record.offset + 1))
                else:
                    assert record.value == b"%d" % record.offset
                    sound.append(record.offset)
            return await consumer.position(partition) >= 2 * COUNT

        await happens(ended, 60)
    return sound, lost


@pytest.mark.parametrize("in_sessions", [False, True], ids=["each named", "in sessions"])
@pytest.mark.parametrize("how", [flip_last, wrong_length, no_length])
@pytest.mark.parametrize(("number", "begin"), [(0, 0), (1, 0), (1, 2), (1, 3), (2, 0), (2, 4), (2, 5)])
async def test_a_damaged_batch_is_met_and_passed_over_wherever_a_reader_begins(
    kafka: EmbeddedKafka,
    unique_name: Callable[[str], str],
    how: Callable[[bytearray], None],
    number: int,
    begin: int,
    in_sessions: bool,
) -> None:
    """Each offset is read, or is known not to be; none is passed over in silence, and the reader gets on."""
    topic = unique_name("damaged")
    await written(kafka, topic)
    damage(segment(kafka, topic), number, how)
    sound, lost = await read(kafka, topic, begin, in_sessions)
    wanted = list(range(begin, 2 * COUNT))
    assert sorted(sound + lost) == wanted
    unreachable = number == 0 and how is not flip_last  # no answer begins before the first batch of the log
    assert unreachable or lost == [offset for offset in wanted if offset // 2 == number]
