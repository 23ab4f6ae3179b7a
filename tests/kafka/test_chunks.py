"""What an agent gets from the transport."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.types import TP

from streams.kafka.chunks import TOGETHER, Chunk, ChunkSchema, in_turns, message_of, schema_of


@dataclass(frozen=True)
class FakeRecord:
    offset: int
    timestamp: int = 7_000
    timestamp_type: int = 0


@dataclass
class FakeChannel:
    schema: Any


def test_a_chunk_knows_where_it_is_from_and_what_comes_after_it() -> None:
    """Offsets may have gaps, the next follows the last."""
    chunk = Chunk(TP("statuses", 2), [FakeRecord(4), FakeRecord(9)], 7)
    assert (chunk.topic, chunk.partition, chunk.generation) == ("statuses", 2, 7)
    assert (chunk.next_offset, chunk.settled) == (10, False)
    assert [record.offset for record in chunk.records] == [4, 9]


def test_a_settled_chunk_lets_go_of_its_records() -> None:
    """What is settled needs no memory until its offset is committed; twice is once."""
    chunk = Chunk(TP("statuses", 2), [FakeRecord(4)], 7)
    chunk.settle()
    chunk.settle()
    assert (chunk.settled, chunk.next_offset, len(chunk.records)) == (True, 5, 0)


def test_an_empty_chunk_cannot_be_made() -> None:
    """There is no offset after nothing."""
    with pytest.raises(IndexError):
        Chunk(TP("statuses", 2), [], 7)


def test_the_smallest_of_a_topic_s_chunk_sizes_counts() -> None:
    """Where two agents read a topic, none gets more than it asked for."""
    small, large = ChunkSchema(10), ChunkSchema(500)
    assert schema_of([FakeChannel(large), FakeChannel(small), FakeChannel(large)]) is small


@pytest.mark.parametrize(
    "others", [[], [FakeChannel(None)], [FakeChannel(ChunkSchema(5)), FakeChannel(faust.Schema())]]
)
def test_a_topic_of_which_somebody_wants_single_messages_has_no_chunks(others: list[FakeChannel]) -> None:
    """All channels of a topic must take chunks, and there must be one."""
    assert schema_of(others) is None


async def test_chunks_reach_the_agent_as_the_event_s_value() -> None:
    """The decoder hands them on undecoded, and the message keeps no second reference to them."""
    app = faust.App("test", env={}, broker="kafka://127.0.0.1:1", store="memory://")
    topic = app.topic("statuses", schema=ChunkSchema(10))
    chunks = [Chunk(TP("statuses", number), [FakeRecord(4)], 7) for number in (2, 5)]
    message = message_of(chunks)
    assert (message.tp, message.offset, message.generation_id) == (TP("statuses", 2), 4, 7)
    event: Any = await topic.decode(message)
    assert event.value is chunks
    assert event.message is message
    assert message.value is None


def turns(schema: ChunkSchema, **counts: list[int]) -> list[list[tuple[str, int, int]]]:
    """Return topic, partition and number of records of what is handed over together, in order.

    `counts`: by topic, the records of each partition.
    """
    fetched = [
        (TP(topic, partition), schema, [FakeRecord(offset) for offset in range(count)])
        for topic, of_partitions in counts.items()
        for partition, count in enumerate(of_partitions)
    ]
    return [[(tp.topic, tp.partition, len(part)) for tp, _, part in each] for each in in_turns(fetched)]


def test_a_handful_of_each_partition_goes_together() -> None:
    """Of one topic, and up to a number of records."""
    assert turns(ChunkSchema(1_000), actions=[2, 1, 3], statuses=[1]) == [
        [("actions", 0, 2), ("actions", 1, 1), ("actions", 2, 3)],
        [("statuses", 0, 1)],
    ]
    assert turns(ChunkSchema(1_000), actions=[TOGETHER - 1, 1, 1]) == [
        [("actions", 0, TOGETHER - 1), ("actions", 1, 1)],
        [("actions", 2, 1)],
    ]


def test_what_stands_for_many_counts_as_many() -> None:
    """A fetch that is handed over as one has as many records as it says."""
    whole = SimpleNamespace(count=TOGETHER)
    parts = [(TP("actions", number), ChunkSchema(1_000), [whole]) for number in (0, 1)]
    assert list(in_turns(parts)) == [[parts[0]], [parts[1]]]


def test_partitions_with_more_than_a_chunk_take_turns() -> None:
    """Each has at most a chunk at a time, so that the agent is never long with one of them."""
    assert turns(ChunkSchema(TOGETHER), actions=[TOGETHER + 2, 1, TOGETHER]) == [
        [("actions", 0, TOGETHER)],
        [("actions", 1, 1)],
        [("actions", 2, TOGETHER)],
        [("actions", 0, 2)],
    ]
    assert turns(ChunkSchema(2), actions=[5, 1]) == [
        [("actions", 0, 2), ("actions", 1, 1)],
        [("actions", 0, 2)],
        [("actions", 0, 1)],
    ]
