"""What an agent gets from the transport."""

from dataclasses import dataclass
from typing import Any

import faust
import pytest
from faust.types import TP

from streams.kafka.chunks import Chunk, ChunkSchema, schema_of


@dataclass(frozen=True)
class FakeRecord:
    offset: int


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


async def test_the_chunk_reaches_the_agent_as_the_event_s_value() -> None:
    """The decoder hands the chunk on undecoded, and the message keeps no second reference to it."""
    app = faust.App("test", env={}, broker="kafka://127.0.0.1:1", store="memory://")
    topic = app.topic("statuses", schema=ChunkSchema(10))
    chunk = Chunk(TP("statuses", 2), [FakeRecord(4)], 7)

    class Message:
        value = chunk

    message: Any = Message()
    event = await topic.decode(message)
    assert event.value is chunk
    assert event.message is message
    assert message.value is None
