"""Where a partition begins, and when only a person can say so.

A committed offset is believed as long as the log has it. Before the log's start, records were deleted unread:
they are gone, and that is said. Beyond its end, the log was cut: going on at any place may leave somebody out
or write to somebody twice, so a person decides, however long the log grows meanwhile. The same holds where
the topic has another id than the group knows (it was deleted and made again), and where an offset was
committed once and is missing now.

Offsets alone do not tell that a topic was made anew: the new log may be longer than the old one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.delivery.commit_metadata import Run, UnreadableMetadata, decode, encode
from streams.delivery.epochs import UNKNOWN, Epochs, cut_at, epochs_of, is_marked, log_of, marked
from streams.delivery.offsets import Extent, Offsets
from streams.delivery.transaction import Position


class OperatorNeeded(Exception):
    """This partition waits until a person says where it begins. The text says why, and how to."""

    def __init__(
        self, topic_partition: TopicPartition, reason: str, position: Position | None = None
    ) -> None:
        """Say why; `position` is what to commit at once, so that nobody forgets it; None: nothing."""
        topic, partition = topic_partition
        self.reason = reason
        self.position = position
        self.remedy = f"`streams start-at {topic} {partition} earliest|latest|OFFSET` says where to go on"
        super().__init__(f"a decision: {reason}; {self.remedy}")


class Start(NamedTuple):
    """Where a partition begins."""

    position: Position
    lost: int = 0  #: offsets that were deleted before they were settled


def start_of(
    topic_partition: TopicPartition,
    position: Position,
    extent: Extent,
    trace: str | None = None,
    known: Epochs = UNKNOWN,
    log: int | None = None,
) -> Start:
    """Return where to begin. Pure.

    Args:
        topic_partition: the partition.
        position: what the group has committed for it.
        extent: of its log.
        trace: where nothing is committed, what shows that the group has worked on this partition; None: it is
            new.
        known: what the group knows of the log.
        log: which one it is; None: that is not known, or does not matter.

    Raises:
        OperatorNeeded: a person has to say.
    """
    place = f"{topic_partition.topic}/{topic_partition.partition}"
    committed = position.offset
    if known.in_log(log) != known:
        raise OperatorNeeded(
            topic_partition,
            f"topic {topic_partition.topic} was deleted and made again (its id is another one): the offsets"
            f" of {place} are those of other records ({extent.end - extent.first:,} are there)",
        )
    if committed is None:
        if trace is not None and extent.first < extent.end:
            raise OperatorNeeded(
                topic_partition,
                f"the committed offset of {place} is missing, and the group has worked on it: {trace}"
                f" ({extent.end - extent.first:,} offsets are there)",
            )
        return Start(Position(extent.first, ""))
    position = cut_at(position, extent.end)
    if (cut := epochs_of(position).cut) is not None:
        what = f"the committed offset {committed:,} of {place}"
        if committed <= cut:
            what = f"what was settled after {what}"
        raise OperatorNeeded(
            topic_partition,
            f"{what} is beyond the end of its log, {cut:,}: records were cut off",
            position,
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

    def __init__(
        self,
        offsets: Offsets,
        inputs: Sequence[str],
        emails: str,
        topic_id: Callable[[AIOKafkaAdminClient, str], Awaitable[str]],
    ) -> None:
        """Prepare.

        Args:
            offsets: the cluster's, and the group's.
            inputs: the topics whose partitions begin here, that of the actions and that of the re-keyed
                actions, both with the same number of partitions.
            emails: the topic with an email in the partition of its action.
            topic_id: asks for the id of a topic, in hexadecimal digits; "" where the brokers have none.
        """
        self._offsets = offsets
        self._inputs = tuple(inputs)
        self._emails = emails
        self._topic_id = topic_id
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
        log, known = await self._log(), await self._known(topic_partition, position)
        if topic_partition.topic == self._inputs[0]:
            start = start_of(topic_partition, position, extent, trace, known or UNKNOWN, log)
        else:
            start = start_of(topic_partition, position, extent, trace)
            if known is None:
                return start
        if is_marked(start.position):
            return start
        known = known or Epochs(log)
        return start._replace(position=marked(start.position, known._replace(log=known.log or log)))

    async def decided(self, topic_partition: TopicPartition, position: Position, offset: int) -> Position:
        """Return what is to be committed when a person says that a partition goes on at `offset`.

        A new epoch begins, unless the log is the known one and nothing but the committed offset is missing:
        then each offset is that of the same record as before. In a log that was cut, the new epoch begins at
        `offset`. The re-keyed topic has no epochs: its records keep the place that they had before.

        Args:
            topic_partition: the partition.
            position: what the group has committed for it.
            offset: of the next record to read.

        Raises:
            KafkaError: the cluster cannot be asked.
        """
        log, known = await self._log(), await self._known(topic_partition, position) or UNKNOWN
        epochs = known.in_log(log)
        is_same = position.offset is None and log is not None and known.log == log
        if topic_partition.topic == self._inputs[0] and epochs == known and not is_same:
            epochs = known.begun(offset, log)
        return marked(Position(offset, ""), epochs)

    async def epochs(self, topic_partition: TopicPartition, position: Position) -> Epochs:
        """Return the epochs of what is in the log of a partition of the actions now.

        Of a log that nobody has decided about, all is in the next epoch: none of it has an email.

        Raises:
            KafkaError: the cluster cannot be asked.
        """
        return (await self._known(topic_partition, position) or UNKNOWN).in_log(await self._log())

    def other(self, topic_partition: TopicPartition) -> TopicPartition:
        """Return the partition of the same number in the other input: its offset has the same marks."""
        topic, partition = topic_partition
        return TopicPartition(self._inputs[topic == self._inputs[0]], partition)

    async def _log(self) -> int | None:
        return log_of(await self._topic_id(await self._offsets.admin(), self._inputs[0]))

    async def _known(self, topic_partition: TopicPartition, position: Position) -> Epochs | None:
        """Return what the marks say of a partition, or those in the other input; None: no offset is there."""
        if (own := epochs_of(position)._replace(cut=None)) != UNKNOWN:
            return own
        other = await self._offsets.committed(self.other(topic_partition))
        return None if other.offset is None else epochs_of(other)._replace(cut=None)

    async def _trace(self, topic_partition: TopicPartition, partitions: int) -> str | None:
        """Return what shows that the group has worked on a partition without a committed offset, or None.

        Partitions are added at the end, and a worker commits an offset for each partition of each input as
        soon as it has it, also where there is nothing to read. So a partition is new if no input has an
        offset for it or for a later one, and no email is in its partition. A group with offsets for the
        actions alone comes from a version without re-keyed ones: they are new as a whole. A group with
        offsets for re-keyed ones alone has lost the others: Kafka deletes them together with a topic.
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
        if not committed or (topic == self._inputs[1] and not any(each.topic == topic for each in committed)):
            self._new.update(each for each in everything if each.topic == topic)
            return None
        if later := sorted(each for each in committed if each.partition >= partition):
            return f"it has one for {later[0].topic}/{later[0].partition}"
        written = TopicPartition(self._emails, partition)
        if (await self._offsets.extents([written]))[written].end:
            return f"emails are in {self._emails}/{partition}"
        self._new.update(each for each in everything if each.partition >= partition)
        return None
