"""The lanes of the partitions that this worker has at the moment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Protocol

from aiokafka.errors import KafkaError

from streams.delivery.epochs import cut_at
from streams.delivery.lane import Lane
from streams.delivery.results import Record
from streams.delivery.starting import OperatorNeeded
from streams.delivery.transaction import Position, TransactionFailed

log = logging.getLogger(__name__)


class Gate(Protocol):
    """Holds back a partition's records until what they are decided by is complete."""

    def assigned(self, partitions: set[int]) -> None:
        """The group gave us exactly these partitions. Called before their lanes start to open."""
        ...

    def revoked(self) -> None:
        """The group takes partitions away; an assignment follows, unless the worker ends."""
        ...

    def is_open(self, partition: int) -> bool:
        """Whether records of this partition may be taken. Never waits."""
        ...


class Lanes:
    """Opens a lane for every partition that is assigned, and closes it when the partition is revoked.

    Lanes open in the background, so that a slow cluster does not hold up the group's rebalance. Until its
    lane is open a partition's records are not accepted, and so not fetched. It does not matter that the
    consumer may have looked up its starting offset before the lane fenced the predecessor: that offset can
    only be lower than what the lane reads afterwards, and a lane passes over what it knows to be settled.
    """

    #: Seconds between two attempts to open a lane.
    RETRY_EVERY = 1.0
    #: Seconds between two looks at whether a person has decided.
    LOOK_EVERY = 3.0

    def __init__(
        self,
        make_lane: Callable[[int], Lane],
        begin: Callable[[int, Position], Awaitable[Position]],
        on_crash: Callable[[Exception], None],
        gate: Gate,
        read_from: Callable[[int, int], None],
    ) -> None:
        """Start without partitions.

        Args:
            make_lane: makes the lane of a partition number.
            begin: gives the position at which a partition begins, from the committed one.
            on_crash: called with what no retry can mend.
            gate: holds back records whose supporters' statuses are not read yet.
            read_from: lets the consumer read a partition from an offset on; called where it stands beyond
                what the lane has, and where a person said where to begin.
        """
        self._make_lane = make_lane
        self._begin = begin
        self._on_crash = on_crash
        self._gate = gate
        self._read_from = read_from
        #: Whether the group has given us an assignment, if only an empty one.
        self.joined = False
        self._generations: dict[int, int] = {}  # by partition: in which it was last assigned
        self._open: dict[int, Lane] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._open_failures: dict[int, str] = {}
        self._leaving: set[Lane] = set()
        self._reopening: dict[int, asyncio.Task[None]] = {}  # closes the lane that another one replaces
        self._doubted: set[int] = set()  # partitions whose log may be another one: see `interrupted`
        #: Called when a partition is doubted.
        self.on_interrupted: Callable[[], None] = lambda: None

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def partitions(self) -> set[int]:
        """Return the partitions whose lanes are open."""
        return set(self._open)

    @property
    def in_flight(self) -> int:
        """Records that the lanes have taken and not settled, those that close included."""
        return sum(lane.in_flight for lanes in (self._open.values(), self._leaving) for lane in lanes)

    @property
    def opening(self) -> dict[int, str]:
        """Partitions whose lane is not open yet, with why not, as far as known."""
        return {
            partition: self._open_failures.get(partition, "opening") for partition in sorted(self._opening)
        }

    def accepts(self, partition: int) -> bool:
        """Whether a chunk of this partition may be offered."""
        lane = self._open.get(partition)
        return (
            lane is not None
            and lane.accepts
            and partition not in self._doubted
            and self._gate.is_open(partition)
        )

    def interrupted(self, partition: int) -> None:
        """Take no records of this partition until its log is known to be the same, or its lane opens anew."""
        if partition in self._open:
            self._doubted.add(partition)
            self.on_interrupted()

    def is_doubted(self, partition: int) -> bool:
        """Whether nobody knows whether what is fetched of this partition now is from the same log."""
        return partition in self._doubted

    @property
    def offered_up_to(self) -> dict[int, int]:
        """By partition, the offset up to which its lane has been offered records."""
        return {partition: lane.offered_up_to for partition, lane in self._open.items()}

    @property
    def doubted(self) -> frozenset[int]:
        """The partitions that take no records until `trust` is called for them."""
        return frozenset(self._doubted)

    def trust(self, partitions: Iterable[int]) -> None:
        """Take records of these partitions again: each has the log that its lane began with."""
        self._doubted -= set(partitions)

    def reopen(self, partition: int, end: int | None = None) -> None:
        """Close a lane, and open it again where its partition begins now. Never waits.

        `end`: where its log was seen to end; it may have grown since.
        """
        if (lane := self._open.pop(partition, None)) is not None:
            self._doubted.add(partition)
            self._leaving.add(lane)
            # A task of its own: opening may be cancelled, and a lane that is not closed goes on committing.
            closing = asyncio.create_task(lane.close(), name=f"close-lane-{partition}")
            self._reopening[partition] = closing
            closing.add_done_callback(lambda _: self._leaving.discard(lane))
            self._opening[partition] = asyncio.create_task(
                self._open_lane(partition, closing, end), name=f"open-lane-{partition}"
            )

    def offer(
        self, partition: int, generation: int, records: Sequence[Record], since: int | None = None
    ) -> None:
        """Hand a chunk to its lane; one that was fetched before the last rebalance is dropped.

        A chunk of an earlier generation may lie beyond what the partition's new lane has seen: taking it
        would pass over what lies between. For the same reason a chunk that was read `since` an offset which
        the lane has not reached is never taken; what lies between is read again.

        That happens when a predecessor that had stood still goes on for a moment after this lane has opened:
        it commits, and the consumer begins at its offset, which the lane does not know. The lane reads those
        records once more; its transaction is fenced, and it finds them committed.
        """
        lane = self._open.get(partition)
        if lane is None or self._generations.get(partition) != generation:
            return
        if since is not None and since > lane.offered_up_to:
            log.warning(
                "partition %d: read since offset %d, but taken only up to %d: reading again from there",
                partition,
                since,
                lane.offered_up_to,
                extra={"event": "read_again", "partition": partition},
            )
            self._read_from(partition, lane.offered_up_to)
            return
        lane.offer(records)

    async def assigned(self, partitions: Iterable[int], generation: int) -> None:
        """Start to open the lanes of `partitions`, assigned in the group's `generation`; close all others."""
        wanted = set(partitions)
        self._gate.assigned(wanted)
        await self._close((self._open.keys() | self._opening.keys()) - wanted)
        self._generations = dict.fromkeys(wanted, generation)
        for partition in wanted - self._opening.keys() - self._open.keys():
            self._opening[partition] = asyncio.create_task(
                self._open_lane(partition), name=f"open-lane-{partition}"
            )
        self.joined = True

    async def revoked(self, partitions: Iterable[int]) -> None:
        """Close the lanes of `partitions` without waiting for lookups under way."""
        self.joined = False
        self._gate.revoked()
        await self._close(partitions)

    async def close(self, grace: float) -> None:
        """Close every lane, giving lookups under way `grace` seconds."""
        await self._close(self._open.keys() | self._opening.keys(), grace)

    async def _close(self, partitions: Iterable[int], grace: float = 0.0) -> None:
        gone = set(partitions)
        opening = [self._opening.pop(partition) for partition in gone & self._opening.keys()]
        reopening = [self._reopening.pop(partition) for partition in gone & self._reopening.keys()]
        for task in opening:
            task.cancel()
        leaving = {self._open.pop(partition) for partition in gone & self._open.keys()}
        self._leaving |= leaving
        try:
            closing = [lane.close(grace) for lane in leaving]
            await asyncio.gather(*opening, *reopening, *closing, return_exceptions=True)
        finally:
            self._leaving -= leaving

    async def _open_lane(
        self, partition: int, closing: asyncio.Task[None] | None = None, end: int | None = None
    ) -> None:
        waited = closing is not None
        if closing is not None:
            await asyncio.wait({closing})

        needed: OperatorNeeded | None = None

        async def begin(committed: Position) -> Position:
            nonlocal needed
            try:
                needed = None
                return await self._begin(partition, committed if end is None else cut_at(committed, end))
            except OperatorNeeded as exc:
                if exc.position is None:
                    raise
                needed = exc
                return exc.position  # the lane commits it; without a record it does nothing else

        while True:
            try:
                lane = self._make_lane(partition)
            except Exception as exc:  # a bug must not vanish in a task that nobody awaits
                self._on_crash(exc)
                return
            try:
                await lane.open(begin)
                if needed is not None:
                    raise needed
                if waited:
                    self._read_from(partition, lane.committed)
                self._doubted.discard(partition)
            except asyncio.CancelledError:
                with contextlib.suppress(Exception):
                    await lane.close()
                raise
            except OperatorNeeded as exc:
                waited, end = True, None  # it is noted in Kafka, as long as nobody has decided
                if self._open_failures.get(partition) != (why := str(exc)):
                    self._open_failures[partition] = why
                    log.error(
                        "partition %d waits for %s",
                        partition,
                        why,
                        extra={"event": "partition_waits", "partition": partition},
                    )
                await lane.close()
                await asyncio.sleep(self.LOOK_EVERY)
            except (TransactionFailed, KafkaError) as exc:
                failure = str(exc) if isinstance(exc, TransactionFailed) else type(exc).__name__
                self._open_failures[partition] = failure
                log.warning(
                    "partition %d: its lane cannot open yet (%s)",
                    partition,
                    failure,
                    extra={"event": "lane_cannot_open", "partition": partition},
                )
                await lane.close()
                await asyncio.sleep(self.RETRY_EVERY)
            except Exception as exc:
                await lane.close()
                self._on_crash(exc)
                return
            else:
                self._open_failures.pop(partition, None)
                if self._opening.get(partition) is asyncio.current_task():
                    del self._opening[partition]
                    self._open[partition] = lane
                else:  # revoked meanwhile: asyncio.wait_for may swallow a cancellation (before Python 3.12)
                    await lane.close()
                return
