"""Until a partition's statuses are whole, no letter is chosen from them."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaConnectionError

from streams.delivery.offsets import Extent
from streams.statuses.catch_up import CatchUp

LOOKS = 10 * CatchUp.LOOK_EVERY  # time for several looks


class FakeCluster:
    """Offsets and consumer in one, as far as a catch-up asks them."""

    def __init__(self, **ends: int) -> None:
        self.ends = {int(name.removeprefix("p")): end for name, end in ends.items()}
        self.positions: dict[int, int | None] = dict.fromkeys(self.ends, 0)
        self.unsettled: dict[int, int] = {}  # the offset at which a partition's chunk begins
        self.troubles: dict[str, list[Exception]] = {"ends": [], "positions": []}  # of the next questions
        self.rounds = 0
        self.turning = True

    async def extents(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Extent]:
        await self._asked("ends")
        return {place: Extent(0, self.ends[place.partition]) for place in places}

    async def position(self, tp: Any) -> int | None:
        await self._asked("positions")
        return self.positions[tp.partition]

    def unsettled_chunks(self, tp: Any, before: float = math.inf) -> int:
        return int(self.unsettled.get(tp.partition, math.inf) < before)

    async def turn(self) -> None:
        """The consumer's rounds go on."""
        while True:
            await asyncio.sleep(0.01)
            self.rounds += self.turning

    async def _asked(self, what: str) -> None:
        await asyncio.sleep(0)
        if self.troubles[what]:
            raise self.troubles[what].pop(0)


class Bench:
    def __init__(self, **ends: int) -> None:
        self.cluster = FakeCluster(**ends)
        offsets: Any = self.cluster
        self.were_whole = 0
        self.catch_up = CatchUp("statuses", offsets, lambda: self.cluster, on_whole=self._note_whole)

    async def follow(self, partitions: Iterable[int], seconds: float = LOOKS) -> None:
        """These are assigned and their table is restored; then time goes by."""
        self.catch_up.assigned("actions", partitions)
        self.catch_up.restored()
        await asyncio.sleep(seconds)

    def _note_whole(self) -> None:
        self.were_whole += 1

    def whole(self) -> list[int]:
        return [number for number in self.cluster.ends if self.catch_up.whole(number)]


def with_bench(**ends: int) -> pytest.MarkDecorator:
    """Give a test a bench with these ends of partitions."""
    return pytest.mark.parametrize("bench", [ends], indirect=True, ids=[pytest.HIDDEN_PARAM])


@pytest.fixture
async def bench(request: pytest.FixtureRequest, virtual_time: None) -> AsyncIterator[Bench]:
    """Its consumer turns meanwhile."""
    bench = Bench(**request.param)
    turning = asyncio.create_task(bench.cluster.turn())
    yield bench
    watch = bench.catch_up._watch
    bench.catch_up.stop()
    turning.cancel()
    for task in filter(None, (turning, watch)):
        with suppress(asyncio.CancelledError):
            await task


@with_bench(p0=0)
async def test_nothing_is_whole_before_the_table_is_restored(bench: Bench) -> None:
    """From the start, and from each assignment until Faust's recovery is done, no partition is whole."""
    assert bench.whole() == []
    bench.catch_up.assigned("actions", [0])
    await asyncio.sleep(LOOKS)
    assert (bench.whole(), bench.catch_up.restoring) == ([], True)
    bench.catch_up.restored()
    await asyncio.sleep(LOOKS)
    assert (bench.whole(), bench.catch_up.restoring) == ([0], False)
    bench.catch_up.assigned("actions", [0])
    assert bench.whole() == []


@with_bench(p0=5, p1=0, p2=3)
async def test_each_partition_is_whole_when_its_reading_has_passed_its_end(bench: Bench) -> None:
    """An empty partition is whole at once; others when their position reaches the end, each by itself."""
    await bench.follow([0, 1, 2])
    assert (bench.whole(), bench.catch_up.behind) == ([1], {0, 2})
    bench.cluster.positions.update({0: 4, 2: 9})
    await asyncio.sleep(LOOKS)
    assert bench.whole() == [1, 2]
    assert bench.were_whole == 0
    bench.cluster.positions[0] = 5
    await asyncio.sleep(2 * LOOKS)
    assert (bench.whole(), bench.were_whole) == ([0, 1, 2], 1)
    bench.cluster.positions[0] = 5
    await asyncio.sleep(LOOKS)
    assert bench.whole() == [0, 1, 2]


@with_bench(p0=5, p1=0)
async def test_each_topic_waits_for_the_statuses_of_its_own_partitions(bench: Bench) -> None:
    """What one topic of actions is given does not end the waiting for the partitions of another one."""
    actions, rekeyed = bench.catch_up.gate("actions"), bench.catch_up.gate("rekeyed")
    actions.assigned({0})
    rekeyed.assigned({1})
    bench.catch_up.restored()
    await asyncio.sleep(LOOKS)
    assert (actions.is_open(0), rekeyed.is_open(1)) == (False, True)
    bench.cluster.positions[0] = 5
    await asyncio.sleep(LOOKS)
    assert actions.is_open(0)
    actions.revoked()
    actions.assigned(set())
    rekeyed.assigned({1})
    assert bench.catch_up.behind == {1}


@with_bench(p0=5)
async def test_what_comes_after_the_assignment_is_not_waited_for(bench: Bench) -> None:
    """The end is that of the assignment: a busy status topic does not keep a worker from its work.

    While one is fed, there is always a chunk on its way to the table.
    """
    await bench.follow([0])
    bench.cluster.ends[0] = 500
    bench.cluster.unsettled[0] = 5
    bench.cluster.positions[0] = 6
    await asyncio.sleep(LOOKS)
    assert bench.whole() == [0]


@with_bench(p0=5)
async def test_a_position_that_is_not_known_is_not_reached(bench: Bench) -> None:
    """No position yet: not whole."""
    bench.cluster.positions[0] = None
    await bench.follow([0])
    assert bench.whole() == []


@with_bench(p0=5)
async def test_records_on_their_way_to_the_table_are_waited_for(bench: Bench) -> None:
    """At the end, but the last chunk not handed over or not in the table yet: not whole."""
    bench.cluster.positions[0] = 5
    bench.cluster.turning = False
    await bench.follow([0])
    assert bench.whole() == []
    bench.cluster.unsettled[0] = 3
    bench.cluster.turning = True
    await asyncio.sleep(LOOKS)
    assert bench.whole() == []
    bench.cluster.unsettled[0] = 5
    await asyncio.sleep(LOOKS)
    assert bench.whole() == [0]


@with_bench(**{f"p{number}": 5 for number in range(64)})
async def test_many_partitions_wait_together(bench: Bench) -> None:
    """With 64 partitions the work begins as soon as with one."""
    bench.cluster.positions.update(dict.fromkeys(bench.cluster.ends, 5))
    await bench.follow(bench.cluster.ends, seconds=3 * CatchUp.LOOK_EVERY)
    assert len(bench.whole()) == 64


@with_bench(p0=5, p1=5)
async def test_kafka_s_failures_are_outlived(bench: Bench) -> None:
    """Ends or positions that cannot be told are asked for again, so that no worker waits for ever."""
    bench.cluster.troubles["ends"] = [KafkaConnectionError(), KafkaConnectionError()]
    bench.cluster.troubles["positions"] = [IllegalStateError(), KafkaConnectionError()]
    bench.cluster.positions.update({0: 5, 1: 5})
    await bench.follow([0, 1], seconds=5)
    assert bench.cluster.troubles == {"ends": [], "positions": []}
    assert bench.whole() == [0, 1]


@with_bench(p0=5, p1=9)
async def test_a_new_assignment_is_followed_alone(bench: Bench) -> None:
    """After a rebalance only the new partitions count, each up to its own new end."""
    await bench.follow([0])
    bench.catch_up.assigned("actions", [1])
    bench.catch_up.restored()
    bench.cluster.positions[1] = 5
    await asyncio.sleep(LOOKS)
    assert bench.catch_up.behind == {1}
    bench.cluster.positions[1] = 9
    await asyncio.sleep(LOOKS)
    assert bench.catch_up.behind == set()


@with_bench(p0=5)
async def test_a_recovery_that_is_over_twice_is_followed_once(bench: Bench) -> None:
    """Faust may say so twice: no old watch compares the next assignment with old ends."""
    bench.catch_up.assigned("actions", [0])
    bench.catch_up.restored()
    bench.catch_up.restored()
    await asyncio.sleep(LOOKS)
    bench.catch_up.assigned("actions", [0])
    bench.cluster.ends[0] = 9
    bench.cluster.positions[0] = 5
    await asyncio.sleep(LOOKS)
    bench.catch_up.restored()
    await asyncio.sleep(LOOKS)
    assert bench.catch_up.behind == {0}


@with_bench(p0=5)
async def test_a_watch_that_is_stopped_judges_nothing(bench: Bench) -> None:
    """Revoked partitions do not become whole behind our back."""
    bench.catch_up.assigned("actions", [0])
    bench.catch_up.restored()
    bench.catch_up.stop()
    bench.cluster.positions[0] = 5
    await asyncio.sleep(LOOKS)
    assert bench.whole() == []


@with_bench()
async def test_an_empty_assignment_needs_no_watch(bench: Bench) -> None:
    """A spare worker is caught up as soon as the table is."""
    bench.catch_up.assigned("actions", [])
    bench.catch_up.restored()
    assert (bench.catch_up.restoring, bench.catch_up.behind) == (False, set())


# -- on a real Kafka -------------------------------------------------------------------------------------


@with_bench(p0=5)
async def test_nothing_personal_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """What is logged names a topic and a failure's class, and not its text."""
    caplog.set_level(logging.DEBUG)
    bench.cluster.troubles["ends"] = [KafkaConnectionError("canary")]
    bench.cluster.troubles["positions"] = [IllegalStateError("canary")]
    await bench.follow([0], seconds=5)
    assert "KafkaConnectionError" in caplog.text
    assert "IllegalStateError" in caplog.text
    assert "canary" not in caplog.text
