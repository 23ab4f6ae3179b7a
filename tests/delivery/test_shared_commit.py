"""Lanes that commit together, under arbitrary interleavings of all that can happen to them.

The cluster is a few lines that hold what a real one does: an epoch for each transactional.id, offsets that
are undecided until their transaction ends, and a group that refuses the offsets of an older generation. Every
request may fail, and may still arrive after its client has given up.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from aiokafka import TopicPartition

from streams.delivery.commit_slots import CommitSlots
from streams.delivery.lane import Lane
from streams.delivery.lane_state import LaneLimits
from streams.delivery.transaction import (
    Fenced,
    Membership,
    NotBegun,
    NotTogether,
    Outgoing,
    Part,
    Position,
    TransactionFailed,
)
from tests.delivery.fakes import (
    KINDS,
    FakeLog,
    FakeObserver,
    FakePasses,
    FakeProcessor,
    PackingLane,
    known,
    microseconds,
    source,
    spread,
)
from tests.lookup.virtual_time import run
from tests.timing import until

T = TypeVar("T")
PARTITIONS, RECORDS = 4, 60
LATEST = 0.5  # seconds until what is on its way has arrived


@dataclass(eq=False)
class Transaction:
    """One of the producer with this transactional.id, a partition's number, and epoch."""

    producer: int
    epoch: int
    records: dict[int, list[Outgoing]] = field(default_factory=dict)
    offsets: dict[int, Position] = field(default_factory=dict)


class Cluster:
    """What the brokers have."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.generation = 1
        self.epochs = dict.fromkeys(range(PARTITIONS), 0)
        self.committed = dict.fromkeys(range(PARTITIONS), Position(0, ""))
        self.written: dict[int, list[int]] = {number: [] for number in range(PARTITIONS)}
        self.undecided: list[Transaction] = []
        self.together = 0  # transactions with several partitions
        self.faults = 0.1  # the share of requests that fail
        self.on_their_way: set[asyncio.Future[Any]] = set()

    async def asked(self, request: Awaitable[T]) -> T:
        """Let a request arrive and its answer come back, or fail before, after, or long before it arrives."""
        arrives = asyncio.ensure_future(self._arriving(request, self.dice.uniform(0, 0.01)))
        self.on_their_way.add(arrives)
        arrives.add_done_callback(self._arrived)
        answer: T = await asyncio.shield(arrives)
        await asyncio.sleep(self.dice.uniform(0, 0.005))
        if self.dice.random() < self.faults:
            raise TransactionFailed("AnswerLost")
        return answer

    async def _arriving(self, request: Awaitable[T], after: float) -> T:
        if self.dice.random() < self.faults:
            after = self.dice.uniform(0, LATEST)
        await asyncio.sleep(after)
        return await request

    def _arrived(self, request: asyncio.Future[Any]) -> None:
        self.on_their_way.discard(request)
        if not request.cancelled():
            request.exception()  # nobody may be there to hear it

    def check(self, transaction: Transaction) -> None:
        """Refuse a request of an older epoch."""
        if self.epochs[transaction.producer] != transaction.epoch:
            raise Fenced("ProducerFenced")

    async def open(self, producer: int) -> int:
        """Abort what the producer left open; return the new epoch."""
        self.undecided = [each for each in self.undecided if each.producer != producer]
        self.epochs[producer] += 1
        return self.epochs[producer]

    async def add_offsets(
        self, transaction: Transaction, offsets: dict[int, Position], generation: int
    ) -> None:
        self.check(transaction)
        if generation != self.generation:
            raise Fenced("IllegalGenerationError")
        transaction.offsets = offsets
        if transaction not in self.undecided:
            self.undecided.append(transaction)

    async def end(self, transaction: Transaction) -> int:
        """Commit; return the epoch of the producer's next transaction, as in version 2."""
        self.check(transaction)
        assert transaction in self.undecided
        self.undecided.remove(transaction)
        self.epochs[transaction.producer] += 1
        self.committed |= transaction.offsets
        self.together += len(transaction.offsets) > 1
        for partition, records in transaction.records.items():
            self.written[partition] += map(source, records)
        return self.epochs[transaction.producer]

    def is_decided(self, partition: int) -> bool:
        return not any(partition in each.offsets for each in self.undecided)


class Transactions:
    """Of one partition, as :class:`streams.delivery.kafka_transaction.KafkaTransactions` has them."""

    def __init__(self, cluster: Cluster, partition: int, generation: int) -> None:
        self.topic_partition = TopicPartition("actions", partition)
        self._cluster = cluster
        self._generation = generation
        self._epoch = -1
        self._alone = 0

    @property
    def membership(self) -> Membership | None:
        return None if self._alone else (self._generation, "", None)

    def go_alone(self) -> None:
        self._alone = 2

    async def open(self) -> Position:
        cluster, partition = self._cluster, self.topic_partition.partition
        self._epoch = await cluster.asked(cluster.open(partition))
        await until(lambda: cluster.is_decided(partition))
        if not cluster.is_decided(partition):
            raise TransactionFailed("TimeoutError")
        position = cluster.committed[partition]
        await asyncio.sleep(0.001)
        return position

    async def commit(self, records: Sequence[Outgoing], offset: int, metadata: str) -> None:
        part = Part(self.topic_partition, records, offset, metadata)
        await self._commit([part])
        self._alone = max(0, self._alone - 1)

    async def commit_together(self, parts: Sequence[Part]) -> None:
        if self._cluster.dice.random() < self._cluster.faults:
            raise NotBegun
        await self._commit(parts)

    async def _commit(self, parts: Sequence[Part]) -> None:
        cluster = self._cluster
        transaction = Transaction(self.topic_partition.partition, self._epoch)
        cluster.check(transaction)
        transaction.records = {part.place.partition: spread(part.records) for part in parts}
        await asyncio.sleep(cluster.dice.uniform(0, 0.005))
        offsets = {part.place.partition: Position(part.offset, part.metadata) for part in parts}
        await cluster.asked(cluster.add_offsets(transaction, offsets, self._generation))
        if any(part.withdrawn for part in parts):
            raise NotTogether
        self._epoch = await cluster.asked(cluster.end(transaction))

    async def close(self) -> None:
        pass


class Worker:
    """Has some partitions since a generation, and feeds their lanes."""

    def __init__(self, cluster: Cluster, partitions: set[int]) -> None:
        self.cluster = cluster
        self.generation = cluster.generation
        self.slots = CommitSlots(at_once=2, rest=0.002, longest=0.02, gather=4)
        self.lanes: dict[int, Lane] = {}
        self.leaving: set[asyncio.Task[Any]] = set()
        self.opening = {number: asyncio.create_task(self._open(number)) for number in partitions}
        self.feeding = asyncio.create_task(self._feed())
        self.crashes: list[Exception] = []

    async def _open(self, number: int, after: asyncio.Task[Any] | None = None) -> None:
        if after is not None:
            await asyncio.wait({after})
        while True:
            processor = FakeProcessor()
            kind = self.cluster.dice.choice(list(KINDS.values()))
            passes = {"passes": FakePasses(processor, FakeLog())} if kind is PackingLane else {}
            lane = kind(
                number,
                Transactions(self.cluster, number, self.generation),
                processor,
                FakeObserver(),
                clock=microseconds,
                on_crash=self.crashes.append,
                limits=LaneLimits(fence_patience=0.01, backoff=0.005, backoff_most=0.05, close_within=0.03),
                slots=self.slots,
                **passes,
            )
            try:
                await lane.open(self._begin)
            except TransactionFailed:
                await lane.close()
                await asyncio.sleep(0.01)
            else:
                self.lanes[number] = lane
                return

    async def _begin(self, committed: Position) -> Position:
        return committed

    async def _feed(self) -> None:
        dice = self.cluster.dice
        while True:
            for lane in list(self.lanes.values()):
                first = lane.offered_up_to
                if lane.accepts and first < RECORDS:
                    lane.offer(known(*range(first, min(RECORDS, first + dice.randint(1, 4)))))
            await asyncio.sleep(dice.uniform(0, 0.02))

    def reopen(self, number: int) -> None:
        """Close a lane, and open it again, as where a log was interrupted; the generation is the same."""
        if (lane := self.lanes.pop(number, None)) is not None:
            self.leaving.add(closing := asyncio.create_task(lane.close()))
            self.opening[number] = asyncio.create_task(self._open(number, closing))

    async def leave(self) -> None:
        """Let everything go, in order."""
        self.feeding.cancel()
        for task in self.opening.values():
            task.cancel()
        await asyncio.wait([*self.opening.values(), self.feeding])
        closing = [asyncio.create_task(lane.close()) for lane in self.lanes.values()]
        if waiting := [*closing, *self.leaving]:
            await asyncio.wait(waiting)
        self.lanes = {}
        assert self.crashes == []


async def rebalanced(
    cluster: Cluster, workers: list[Worker], leaving: set[asyncio.Task[None]]
) -> list[Worker]:
    """Give all partitions to new workers; the old ones leave before it, or find out later."""
    late = cluster.dice.random() < 0.5
    if late:
        leaving |= {asyncio.create_task(_leave_late(each, cluster.dice)) for each in workers}
    else:
        await asyncio.gather(*(each.leave() for each in workers))
    cluster.generation += 1
    numbers = set(range(PARTITIONS))
    mine = {number for number in numbers if cluster.dice.random() < 0.7}
    return [Worker(cluster, mine), Worker(cluster, numbers - mine)]


async def _leave_late(worker: Worker, dice: random.Random) -> None:
    await asyncio.sleep(dice.uniform(0, 0.3))
    await worker.leave()


async def story(seed: int) -> Cluster:
    """Let a group work through its partitions while everything happens; return what became of them."""
    cluster = Cluster(random.Random(seed))
    dice = cluster.dice
    leaving: set[asyncio.Task[None]] = set()
    workers = [Worker(cluster, set(range(PARTITIONS)))]
    for _ in range(dice.randint(3, 12)):
        await asyncio.sleep(dice.uniform(0, 0.1))
        if dice.random() < 0.4:
            workers = await rebalanced(cluster, workers, leaving)
        else:
            dice.choice(workers).reopen(dice.randrange(PARTITIONS))
    cluster.faults = 0.0
    await until(lambda: {position.offset for position in cluster.committed.values()} == {RECORDS})
    for each in workers:
        await each.leave()
    if leaving:
        await asyncio.wait(leaving)
    if cluster.on_their_way:
        await asyncio.wait(cluster.on_their_way)  # it does no harm
    return cluster


@pytest.mark.parametrize("seeds", [range(first, first + 40) for first in range(0, 400, 40)], ids=str)
def test_each_record_is_written_once_whatever_happens(seeds: range) -> None:
    """Lost and late requests, rebalances, lanes of the past and reopened ones lose and double nothing."""
    logging.getLogger("streams.delivery.lane").setLevel(logging.CRITICAL)  # thousands of failures
    together = 0
    for seed in seeds:
        cluster = run(story(seed))
        written = {number: sorted(offsets) for number, offsets in cluster.written.items()}
        assert written == {number: list(range(RECORDS)) for number in range(PARTITIONS)}, f"seed {seed}"
        together += cluster.together
    assert together > 5 * len(seeds), "hardly any transaction was shared"
