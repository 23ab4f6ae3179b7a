"""Until a partition's statuses are whole, no letter is chosen from them.

Faust's recovery restores what earlier workers wrote to the table's changelog. What the CRM wrote to the
status topic since is read like any other topic; the actions of a partition wait until that reading has passed
the end that the status partition had when it was assigned. The end is the high watermark: somebody's open
transaction holds the reading up, and so the actions, instead of hiding what was committed behind it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP

from streams.delivery.offsets import Offsets

log = logging.getLogger(__name__)


class CatchUp:
    """Which partitions' statuses are whole."""

    #: Seconds between two looks at how far the reading is.
    LOOK_EVERY = 0.05

    def __init__(
        self,
        topic: str,
        offsets: Offsets,
        consumer: Callable[[], Any],
        away: Callable[[int], object] = lambda _partition: None,
        on_whole: Callable[[], object] = lambda: None,
    ) -> None:
        """Watch the reading of `topic`.

        Args:
            topic: the status topic.
            offsets: the cluster's.
            consumer: returns the consumer, a ChunkConsumer.
            away: why a partition's store cannot be used now, or None. Its letters do not wait for statuses,
                which nobody can keep.
            on_whole: called when the statuses of all partitions have become whole.
        """
        self._topic = topic
        self._offsets = offsets
        self._consumer = consumer
        self._away = away
        self._on_whole = on_whole
        self._assigned: dict[str, set[int]] = {}  # by topic of actions
        self._behind: set[int] = set()
        self._watch: asyncio.Task[None] | None = None
        #: Held until Faust's own recovery is done.
        self.restoring = True

    @property
    def behind(self) -> set[int]:
        """Assigned partitions whose statuses are not whole yet."""
        return self._behind

    def stores_away(self) -> int:
        """Return how many assigned partitions have a store that cannot be used now."""
        ours = set().union(*self._assigned.values())
        return sum(self._away(partition) is not None for partition in ours)

    def gate(self, topic: str) -> StatusGate:
        """Return what holds back the records of `topic`, one of those whose actions need statuses."""
        return StatusGate(self, topic)

    def whole(self, partition: int) -> bool:
        """Whether letters may be chosen from this partition's statuses."""
        return not self.restoring and (partition not in self._behind or self._away(partition) is not None)

    def assigned(self, topic: str, partitions: Iterable[int]) -> None:
        """Start anew: of `topic` we have exactly these partitions, of other topics those we were told of."""
        self.stop()
        self.restoring = True
        self._assigned[topic] = set(partitions)
        self._behind = set().union(*self._assigned.values())

    def restored(self) -> None:
        """Go on: Faust's recovery is done, and the reading begins."""
        self.stop()  # Faust may say so twice: a recovery that a rebalance overtook ends too
        self.restoring = False
        if self._behind:
            self._watch = asyncio.create_task(self._follow(), name="catch-up")

    def stop(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _follow(self) -> None:
        targets = await self._ends()
        read_in: dict[int, int] = {}  # the consumer's round when a partition's position was past its end
        while self._behind:
            unread = sorted(self._behind - read_in.keys())
            passed = await asyncio.gather(
                *(self._passed(partition, targets[partition]) for partition in unread)
            )
            consumer = self._consumer()
            read_in |= {
                partition: consumer.rounds
                for partition, is_past in zip(unread, passed, strict=True)
                if is_past
            }
            # A position is past records that may still be on their way from the fetcher to the agent: they
            # have been handed over once two further rounds are complete. All partitions wait for the same
            # two: one after another, a worker with 64 of them would begin its work three seconds late.
            self._behind -= {
                partition
                for partition, rounds in read_in.items()
                if consumer.rounds >= rounds + 2
                and not consumer.unsettled_chunks(TP(self._topic, partition), targets[partition])
            }
            await asyncio.sleep(self.LOOK_EVERY)
        self._on_whole()

    async def _ends(self) -> dict[int, int]:
        while True:
            try:
                topic_partitions = [TopicPartition(self._topic, partition) for partition in self._behind]
                extents = await self._offsets.extents(topic_partitions)
            except KafkaError as exc:
                log.warning(
                    "the ends of %s are not known yet (%s)",
                    self._topic,
                    type(exc).__name__,
                    extra={"event": "ends_unknown", "topic": self._topic},
                )
                await asyncio.sleep(1.0)
            else:
                return {topic_partition.partition: extent.end for topic_partition, extent in extents.items()}

    async def _passed(self, partition: int, target: int) -> bool:
        try:
            position = await self._consumer().position(TP(self._topic, partition))
        except KafkaError as exc:
            log.warning(
                "position in %s not known yet (%s)",
                self._topic,
                type(exc).__name__,
                extra={"event": "position_unknown", "topic": self._topic},
            )
            return False
        return position is not None and position >= target


class StatusGate:
    """Holds back the actions of one topic until the statuses of their partition are whole."""

    def __init__(self, catch_up: CatchUp, topic: str) -> None:
        self._catch_up = catch_up
        self._topic = topic

    def assigned(self, partitions: set[int]) -> None:
        """Close, for exactly these partitions, until their statuses are read."""
        self._catch_up.assigned(self._topic, partitions)

    def revoked(self) -> None:
        """Stop following the reading of statuses that may not be ours any more."""
        self._catch_up.stop()

    def is_open(self, partition: int) -> bool:
        """Whether letters may be chosen from this partition's statuses. Never waits."""
        return self._catch_up.whole(partition)
