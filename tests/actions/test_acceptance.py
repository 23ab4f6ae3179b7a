"""A partition that stopped at its limit goes on when a person has accepted its dead letters."""

from __future__ import annotations

import gc

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from streams.actions.acceptance import DeadLetterLimits
from streams.actions.dead_letter import LEAST, DeadLetterLimit
from streams.delivery.decisions import with_accepted
from streams.delivery.transaction import Position
from streams.messages.decode import ErrorClass

NOTHING = Position(None, "")


class Group:
    """What the group has committed, or an error when it is asked."""

    def __init__(self) -> None:
        self.committed: dict[TopicPartition, Position] = {}
        self.error: Exception | None = None
        self.asked: list[TopicPartition] = []

    async def read(self, topic_partition: TopicPartition) -> Position:
        self.asked.append(topic_partition)
        if self.error is not None:
            raise self.error
        return self.committed.get(topic_partition, NOTHING)


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def limits(group: Group) -> DeadLetterLimits:
    return DeadLetterLimits(0.5, "dlq", group.read)


def stopped(limits: DeadLetterLimits, topic: str, partition: int) -> DeadLetterLimit:
    limit = limits.of(topic, partition)
    for offset in range(LEAST):
        limit.note_dead_letter(offset, ErrorClass.NOT_JSON)
    assert limit.why is not None
    return limit


async def test_a_decision_lets_its_own_partition_of_its_own_topic_go_on(
    limits: DeadLetterLimits, group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    """Another partition, and the re-keyed actions in the partition of the same number, stay stopped."""
    mine, other, moved = (stopped(limits, *each) for each in (("actions", 0), ("actions", 1), ("moved", 0)))
    group.committed[TopicPartition("dlq", 0)] = Position(7, with_accepted(NOTHING, "actions", LEAST))
    await limits.look()
    assert mine.why is None
    assert other.why is not None
    assert moved.why is not None
    (line,) = [each for each in caplog.records if getattr(each, "event", "") == "dead_letters_accepted"]
    assert line.getMessage() == "actions/0 goes on: a person accepts its dead letters before offset 100"


async def test_nobody_is_asked_while_all_partitions_go_on(limits: DeadLetterLimits, group: Group) -> None:
    """The usual worker makes no request for this."""
    limit = limits.of("actions", 0)
    limit.note_dead_letter(0, ErrorClass.NOT_JSON)
    await limits.look()
    assert group.asked == []


async def test_a_cluster_that_does_not_answer_changes_nothing(limits: DeadLetterLimits, group: Group) -> None:
    """The partition stays stopped, and is asked about again."""
    limit = stopped(limits, "actions", 0)
    group.error = KafkaConnectionError()
    await limits.look()
    assert limit.why is not None
    group.error = None
    group.committed[TopicPartition("dlq", 0)] = Position(0, with_accepted(NOTHING, "actions", LEAST))
    await limits.look()
    assert limit.why is None


async def test_the_limit_of_a_closed_lane_is_forgotten(limits: DeadLetterLimits, group: Group) -> None:
    """Whoever has the partition now asks about it."""
    limit = stopped(limits, "actions", 0)
    del limit
    gc.collect()
    await limits.look()
    assert group.asked == []
