"""Whether the logs are still those that the lanes began with. Time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError

from streams.delivery.log_watch import LogWatch
from streams.delivery.offsets import Extent
from tests.delivery.fakes import known, soon
from tests.delivery.test_lanes import Worker

pytestmark = pytest.mark.usefixtures("virtual_time")


class Cluster:
    """The lanes of two partitions of `actions`, and what a watch can ask about them."""

    def __init__(self) -> None:
        self.worker = Worker()
        self.topic_id: str | Exception = "a"
        self.end = 5
        self.asked = 0
        self.changes = 0
        offsets: Any = self
        self.watch = LogWatch({"actions": self.worker.lanes}, offsets, self.ask, self.changed)

    async def admin(self) -> None:
        pass

    async def ask(self, _: Any, topic: str) -> str:
        self.asked += 1
        if isinstance(self.topic_id, Exception):
            raise self.topic_id
        return self.topic_id

    async def extents(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Extent]:
        return {place: Extent(0, self.end if place.partition == 0 else 5) for place in places}

    def changed(self) -> None:
        self.changes += 1

    def opened(self) -> list[int]:
        """How often a lane was made for each of the partitions."""
        return [len(self.worker.benches[number]) for number in (0, 1)]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    await cluster.worker.lanes.assigned([0, 1], 7)
    await soon()
    cluster.worker.lanes.offer(0, 7, known(0, 1, 2))
    watching = asyncio.create_task(cluster.watch.run())
    await soon()
    yield cluster
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    await cluster.worker.lanes.close(0.0)


async def test_a_topic_with_another_id_opens_its_lanes_anew(cluster: Cluster) -> None:
    """All of them, within seconds, once; and the consumer looks at its topics."""
    cluster.topic_id = "b"
    await asyncio.sleep(cluster.watch.LOOK_EVERY + 1)
    assert cluster.opened() == [2, 2]
    assert cluster.changes == 1
    await asyncio.sleep(20)
    assert cluster.opened() == [2, 2]
    assert cluster.changes == cluster.watch.TOLD


async def test_a_log_that_ends_before_what_was_read_opens_its_lane_anew(cluster: Cluster) -> None:
    """The other partitions' lanes go on."""
    cluster.end = 2
    await asyncio.sleep(cluster.watch.LOOK_EVERY + 0.5)
    assert cluster.opened() == [2, 1]
    assert cluster.changes == 0


async def test_what_is_in_doubt_is_looked_at_at_once(cluster: Cluster) -> None:
    """If it is the same log, it goes on; nothing else happens."""
    cluster.worker.lanes.interrupted(1)
    assert not cluster.worker.lanes.accepts(1)
    await soon()
    assert cluster.worker.lanes.accepts(1)
    assert cluster.opened() == [1, 1]


async def test_as_long_as_nobody_can_tell_doubts_stay(cluster: Cluster) -> None:
    """The partition takes nothing, and is looked at again and again."""
    cluster.topic_id = KafkaConnectionError()
    cluster.worker.lanes.interrupted(1)
    await asyncio.sleep(20)
    assert not cluster.worker.lanes.accepts(1)
    assert cluster.worker.lanes.accepts(0)
    cluster.topic_id = "a"
    await asyncio.sleep(cluster.watch.LOOK_EVERY + 0.5)
    assert cluster.worker.lanes.accepts(1)


async def test_a_topic_that_is_gone_is_said_until_it_is_there_again(cluster: Cluster) -> None:
    """The sentence names the topic and the command; made again, it has another id."""
    assert cluster.watch.missing == []
    cluster.topic_id = UnknownTopicOrPartitionError()
    await asyncio.sleep(cluster.watch.LOOK_EVERY + 0.5)
    (said,) = cluster.watch.missing
    assert "topic actions is not there" in said
    assert "start-at" in said
    assert cluster.opened() == [1, 1]
    cluster.topic_id = "b"
    await asyncio.sleep(cluster.watch.LOOK_EVERY)
    assert cluster.watch.missing == []
    assert cluster.changes == 2
    assert cluster.opened() == [2, 2]
