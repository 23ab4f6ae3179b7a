"""Where a partition begins, and when only a person can say so.

A committed offset is believed as long as the log has it. Before the log's start, records were deleted unread:
they are gone, and that is said. Beyond its end, the log was cut or the topic made anew: going on at any place
may leave somebody out or write to somebody twice, so a person decides. The same holds where an offset was
committed once and is missing now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import TopicPartition

from streams.delivery.commit_metadata import Run, UnreadableMetadata, decode, encode
from streams.delivery.offsets import Extent, Offsets
from streams.delivery.transaction import Position


class OperatorNeeded(Exception):
    """This partition waits until a person says where it begins. The text says why, and how to."""

    def __init__(self, topic_partition: TopicPartition, reason: str) -> None:
        topic, partition = topic_partition
        self.reason = reason
        self.remedy = f"`streams start-at {topic} {partition} earliest|latest|OFFSET` says where to go on"
        super().__init__(f"a decision: {reason}; {self.remedy}")


class Start(NamedTuple):
    """Where a partition begins."""

    position: Position
    lost: int = 0  #: offsets that were deleted before they were settled


def start_of(
    topic_partition: TopicPartition, position: Position, extent: Extent, trace: str | None = None
) -> Start:
    """Return where to begin. Pure.

    Args:
        topic_partition: the partition.
        position: what the group has committed for it.
        extent: of its log.
        trace: where nothing is committed, what shows that the group has worked on this partition; None: it is
            new.

    Raises:
        OperatorNeeded: a person has to say.
    """
    place = f"{topic_partition.topic}/{topic_partition.partition}"
    committed = position.offset
    if committed is None:
        if trace is not None and extent.first < extent.end:
            raise OperatorNeeded(
                topic_partition,
                f"the committed offset of {place} is missing, and the group has worked on it: {trace}"
                f" ({extent.end - extent.first:,} offsets are there)",
            )
        return Start(Position(extent.first, ""))
    if committed > extent.end:
        raise OperatorNeeded(
            topic_partition,
            f"the committed offset {committed:,} of {place} is beyond the end of its log, {extent.end:,}:"
            " records were cut off, or the topic was made anew",
        )
    if committed >= extent.first:
        return Start(position)
    try:
        runs = decode(committed, position.metadata)
    except UnreadableMetadata:
        runs = []
    settled = sum(max(0, min(last + 1, extent.first) - first) for first, last in runs)
    kept: list[Run] = [(max(first, extent.first), last) for first, last in runs if last >= extent.first]
    begin = extent.first
    if kept and kept[0][0] == begin:  # the committed offset is never a settled one
        begin = kept.pop(0)[1] + 1
    return Start(Position(begin, encode(begin, kept)), extent.first - committed - settled)


class StartingPositions:
    """Asks the cluster what :func:`start_of` has to know."""

    def __init__(self, offsets: Offsets, inputs: Sequence[str], emails: str) -> None:
        """Prepare.

        Args:
            offsets: the cluster's, and the group's.
            inputs: the topics whose partitions begin here, all with the same number of partitions.
            emails: the topic with an email in the partition of its action.
        """
        self._offsets = offsets
        self._inputs = tuple(inputs)
        self._emails = emails
        #: Found to be new, and from then on known to be, while their offsets are committed one by one.
        self._new: set[TopicPartition] = set()

    async def start(self, topic_partition: TopicPartition, position: Position, partitions: int) -> Start:
        """Return where a partition begins.

        Args:
            topic_partition: the partition, one of `partitions` of its topic.
            position: what the group has committed for it.
            partitions: how many there are.

        Raises:
            OperatorNeeded: a person has to say.
            KafkaError: the cluster cannot be asked.
        """
        extent = (await self._offsets.extents([topic_partition]))[topic_partition]
        trace = None if position.offset is not None else await self._trace(topic_partition, partitions)
        return start_of(topic_partition, position, extent, trace)

    async def _trace(self, topic_partition: TopicPartition, partitions: int) -> str | None:
        """Return what shows that the group has worked on a partition without a committed offset, or None.

        Partitions are added at the end, and a worker commits an offset for each partition of each input as
        soon as it has it, also where there is nothing to read. So a partition is new if no input has an
        offset for it or for a later one, and no email is in its partition. An input of which the group has no
        offset at all is new as a whole.
        """
        if topic_partition in self._new:
            return None
        topic, partition = topic_partition
        everything = [
            TopicPartition(each, number)
            for each in self._inputs
            for number in range(max(partitions, partition + 1))
        ]
        positions = await self._offsets.all_committed(everything)
        committed = {each for each in everything if positions[each].offset is not None}
        if not any(each.topic == topic for each in committed):
            self._new.update(each for each in everything if each.topic == topic)
            return None
        if later := sorted(each for each in committed if each.partition >= partition):
            return f"it has one for {later[0].topic}/{later[0].partition}"
        written = TopicPartition(self._emails, partition)
        if (await self._offsets.extents([written]))[written].end:
            return f"emails are in {self._emails}/{partition}"
        self._new.update(each for each in everything if each.partition >= partition)
        return None
