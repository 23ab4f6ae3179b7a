"""What was handed over and may be committed: the books of the consumer."""

from types import SimpleNamespace

import pytest
from faust.types import TP

from streams.kafka.chunks import Chunk
from streams.kafka.delivered_chunks import DeliveredChunks

HERE, THERE = TP("status", 0), TP("status", 1)


def chunk(tp: TP, *offsets: int) -> Chunk:
    return Chunk(tp, [SimpleNamespace(offset=offset) for offset in offsets], generation=1)


@pytest.fixture
def delivered() -> DeliveredChunks:
    return DeliveredChunks()


def test_an_offset_passes_no_chunk_that_is_not_settled(delivered: DeliveredChunks) -> None:
    """A later chunk that is settled waits for the one before it."""
    first, second = chunk(HERE, 1, 2), chunk(HERE, 5)
    delivered.add(first)
    delivered.add(second)
    second.settle()
    assert (list(delivered.to_commit()), delivered.pop_settled(HERE)) == ([], None)
    first.settle()
    assert (list(delivered.to_commit()), delivered.pop_settled(HERE)) == ([HERE], 6)
    assert (list(delivered.to_commit()), delivered.pop_settled(HERE)) == ([], None)


def test_what_is_not_settled_is_counted(delivered: DeliveredChunks) -> None:
    """By partition, up to an offset, and by topic."""
    settled = chunk(HERE, 1)
    for each in (settled, chunk(HERE, 4, 5), chunk(THERE, 9)):
        delivered.add(each)
    settled.settle()
    assert [delivered.unsettled(HERE, before) for before in (4, 5)] == [0, 1]
    assert delivered.unsettled_by_topic() == {"status": 2}


def test_what_is_forgotten_counts_no_longer(delivered: DeliveredChunks) -> None:
    """One chunk that was not handed over, all of a partition, and everything."""
    one, other = chunk(HERE, 1), chunk(HERE, 2)
    delivered.add(one)
    delivered.add(other)
    delivered.add(chunk(THERE, 3))
    delivered.take_back(other)
    assert delivered.unsettled(HERE) == 1
    delivered.forget(HERE)
    delivered.take_back(one)
    assert delivered.unsettled_by_topic() == {"status": 1}
    delivered.forget_all()
    assert not +delivered.unsettled_by_topic()
