"""What must be so before the first record is read: a cluster, its topics, and an offset to begin at.

Runs as a service between the web pages and Faust's own Kafka services, so that /livez answers while Kafka is
still starting, and /readyz says what is awaited.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, cast

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.app.base import BootStrategy
from mode import Service

from streams.delivery.epochs import UNKNOWN, Epochs, epochs_of
from streams.delivery.offsets import Extent, Offsets
from streams.delivery.starting import StartingPositions
from streams.delivery.topic_limits import TopicLimits
from streams.delivery.transaction import Position
from streams.kafka import authorization
from streams.kafka.acls import least
from streams.kafka.connection_check import AccessRefused, access_problem, token_fault
from streams.kafka.flow import FlowControl
from streams.kafka.group import described, in_the_way
from streams.kafka.topic_ids import Ids, ids_of, topic_id_of
from streams.kafka.topics import TopicNames, Topics, TopicsUnfit, administering, ensure_topics, limits_of
from streams.settings import store_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Undecided:
    """The group has committed nothing, and there are records: whether to read them is a person's decision."""

    records: int


def starting_offsets(
    committed: Mapping[TopicPartition, int | None],
    extents: Mapping[TopicPartition, Extent],
    choice: Literal["earliest", "latest"] | None,
) -> dict[TopicPartition, int] | Undecided:
    """Return where to begin in each partition that has no committed offset.

    Where the group has offsets in other partitions, a partition's lane says where it begins. A group without
    any offset begins where `choice` says; without a choice only if there is nothing to read: mailing a
    topic's whole history again, or passing over what an outage left unread, is not decided by a default.
    """
    absent = {topic_partition for topic_partition, offset in committed.items() if offset is None}
    records = sum(extents[topic_partition].end - extents[topic_partition].first for topic_partition in absent)
    if len(absent) < len(committed) or choice == "earliest":
        return {topic_partition: extents[topic_partition].first for topic_partition in absent}
    if choice == "latest" or not records:
        return {topic_partition: extents[topic_partition].end for topic_partition in absent}
    return Undecided(records)


class Startup(Service):
    """Waits until a worker can begin. When it has started, `topics` is known and every partition has a
    committed offset.
    """

    #: Seconds between two attempts.
    RETRY_EVERY = 2.0
    #: Seconds after which an attempt that has not ended is looked into; it goes on meanwhile.
    LOOK_AFTER = 10.0

    def __init__(
        self,
        *,
        connection: Mapping[str, Any],
        group: str,
        names: TopicNames,
        partitions: int,
        replication: int,
        choice: Literal["earliest", "latest"] | None,
        on_lost: Callable[[str, int, int], None] = lambda _topic, _partition, _count: None,
        **kwargs: Any,
    ) -> None:
        """Describe what to wait for; nothing is connected before it starts.

        Args:
            connection: what every Kafka client needs.
            group: the consumer group.
            names: the topics.
            partitions: of topics that have to be made.
            replication: of topics that have to be made.
            choice: where a group without committed offsets begins.
            on_lost: is told topic, partition and how many offsets were deleted before they were read.
            kwargs: for the service.
        """
        super().__init__(**kwargs)
        self._connection = connection
        self._group = group
        self._names = names
        self._partitions = partitions
        self._replication = replication
        self._choice = choice
        self._on_lost = on_lost
        self._lost: dict[TopicPartition, int | None] = {}
        self.offsets = Offsets(group, connection)
        self._starting = StartingPositions(
            self.offsets, (names.actions, names.rekeyed), names.emails, topic_id_of
        )
        self._epochs: dict[int, Epochs] = {}  # by partition of the actions whose lanes have begun
        self.topics: Topics | None = None
        #: What all lanes know of how large a record their topics take.
        self.limits: TopicLimits | None = None
        #: The ids of the cluster and of the changelog topic; None until they are known.
        self.ids: Ids | None = None
        #: What is awaited, for /readyz; None when all is done.
        self.waiting_for: str | None = "Kafka"

    @property
    def needs_operator(self) -> str | None:
        """What is awaited, where only a person can give it."""
        return (
            self.waiting_for
            if self.waiting_for is not None and self.waiting_for.startswith("a decision")
            else None
        )

    async def begin(self, topic: str, partition: int, committed: Position) -> Position:
        """Return where a partition begins, from what is committed; say what its topic has lost.

        Raises:
            OperatorNeeded: a person has to say where it begins.
            KafkaError: the cluster cannot be asked.
        """
        assert self.topics is not None
        topic_partition = TopicPartition(topic, partition)
        start = await self._starting.start(topic_partition, committed, self.topics.partitions)
        self._on_lost(topic, partition, 0)  # shown from the start: a rate needs something to begin at
        if start.lost and self._lost.get(topic_partition) != committed.offset:
            self._lost[topic_partition] = committed.offset  # a second attempt to open the lane finds the same
            log.error(
                "partition %d of %s: the records from offset %d to %d were deleted before a worker read them;"
                " nobody can mail them any more. Look at the topic's retention, and at how long no worker"
                " was running",
                partition,
                topic,
                committed.offset,
                (start.position.offset or 0) - 1,
                extra={"event": "actions_lost", "topic": topic, "partition": partition, "count": start.lost},
            )
            self._on_lost(topic, partition, start.lost)
        if topic == self._names.actions:
            self._epochs[partition] = epochs_of(start.position)
        return start.position

    def epochs_in(self, partition: int) -> Epochs:
        """Return the epochs of a partition of the actions, as of when its lane began here."""
        return self._epochs.get(partition, UNKNOWN)

    @property
    def token_fault(self) -> str | None:
        """Why this worker has no valid token for Kafka, a sentence; None if it has, or needs none."""
        return token_fault(self._connection)

    async def on_start(self) -> None:
        """Wait for Kafka, then for topics and offsets.

        Raises:
            TopicsUnfit: the topics cannot work together.
            Refused: brokers answer, and do not let us in, or not allow what a worker does.
        """
        try:
            await self._until_ready()
        except (AccessRefused, TopicsUnfit) as exc:
            log.error("this worker cannot start: %s", str(exc), extra={"event": "start_refused"})
            raise

    async def on_stop(self) -> None:
        """Disconnect."""
        await self.offsets.stop()

    async def _until_ready(self) -> None:
        while not self.should_stop:
            try:
                await self._attempt()
            except CommitFailedError as exc:  # only who is in the group may commit, while anybody is
                self.waiting_for = f"its consumer group: {await self._who_is_there() or type(exc).__name__}"
            except KafkaError as exc:
                await self._look()
                self.waiting_for = f"Kafka ({self.token_fault or type(exc).__name__})"
            if self.waiting_for is None:
                return
            log.warning("not ready: waiting for %s", self.waiting_for, extra={"event": "not_ready"})
            await self.sleep(self.RETRY_EVERY)

    async def _who_is_there(self) -> str | None:
        with contextlib.suppress(KafkaError):
            async with administering(self._connection) as admin:
                return in_the_way(self._group, await described(admin, self._group))
        return None

    async def _attempt(self) -> None:
        preparing = asyncio.ensure_future(self._prepare())
        try:
            if not (await asyncio.wait({preparing}, timeout=self.LOOK_AFTER))[0]:
                await self._look()
            await preparing
        finally:
            preparing.cancel()

    async def _look(self) -> None:
        """Waiting helps where nobody answers, and not where somebody refuses us."""
        if (sentence := await access_problem(self._connection)) is not None:
            raise AccessRefused(sentence)

    async def _prepare(self) -> None:
        async with administering(self._connection) as admin:
            if lacking := await authorization.missing(admin, least(self._names, self._group)):
                raise AccessRefused(authorization.sentence(lacking))
            self.topics = await ensure_topics(
                admin, self._names, partitions=self._partitions, replication=self._replication
            )
            self.ids = await ids_of(admin, self._names.changelog)
            self.limits = TopicLimits(
                self.topics.max_message_bytes,
                guessed=self.topics.guessed,
                reduced=[self._names.dead_letters],
                look=partial(limits_of, self._connection, self._names),
            )
        await self.offsets.start()
        topic_partitions = [
            TopicPartition(self._names.actions, number) for number in range(self.topics.partitions)
        ]
        committed = await self.offsets.all_committed(topic_partitions)
        rekeyed = await self.offsets.all_committed(
            TopicPartition(self._names.rekeyed, each.partition) for each in topic_partitions
        )
        if any(position.offset is not None for position in rekeyed.values()):
            self.waiting_for = None  # no new group: where its offsets are missing, a lane asks for a decision
            return
        start = starting_offsets(
            {topic_partition: position.offset for topic_partition, position in committed.items()},
            await self.offsets.extents(topic_partitions),
            self._choice,
        )
        if isinstance(start, Undecided):
            self.waiting_for = (
                f"a decision: group {self._group} has no committed offsets and topic {self._names.actions}"
                f" has {start.records} records; set ACTIONS_START to earliest (mail them) or latest (do not)"
            )
            return
        if len(start) == len(topic_partitions):
            # All at once: half of a decision would be another one. The re-keyed actions belong to it: once
            # some lanes work, an offset that is missing there could not be told from one that got lost.
            firsts = await self.offsets.extents(rekeyed)
            await self._commit(start | {each: firsts[each].first for each in rekeyed})
        self.waiting_for = None

    async def _commit(self, start: dict[TopicPartition, int]) -> None:
        consumer = AIOKafkaConsumer(**self._connection, group_id=self._group, enable_auto_commit=False)
        try:
            await consumer.start()
            consumer.assign(list(start))
            await consumer.commit(
                {topic_partition: OffsetAndMetadata(offset, "") for topic_partition, offset in start.items()}
            )
        finally:
            await consumer.stop()


class BootOrder(BootStrategy):
    """Faust's services, with the pages first, and :class:`Startup` before anything that needs Kafka."""

    def server(self) -> Iterable[Any]:
        """Return the services of a worker, in the order in which they start; they stop in reverse."""
        return self._chain(
            self.sensors(),
            self.web_server(),
            [cast(App, self.app).startup],
            self.kafka_producer(),
            self.kafka_consumer(),
            self.agents(),
            self.kafka_conductor(),
            self.tables(),
        )


class App(faust.App):
    """A Faust app that starts with :class:`Startup`."""

    BootStrategy = BootOrder
    startup: Startup

    @cached_property
    def flow_control(self) -> FlowControl:
        """What lets records into the agents' queues and into the table's."""
        return FlowControl()

    def _create_directories(self) -> None:  # called by Faust at the start
        if self.conf.store.scheme != "memory":  # which keeps nothing on a disk
            self.conf.datadir.mkdir(parents=True, exist_ok=True)
            self._folder_lock = store_folder.lock(self.conf.datadir)  # until this process ends
            store_folder.make_private(self.conf.datadir)
            super()._create_directories()


async def spare_garbage_collector() -> None:
    """Keep the garbage collector off what lives as long as the worker, or only for a transaction.

    The objects of the actions under way, hundreds of thousands, are freed by their reference counts. With
    Python's thresholds they were looked at again and again: a third of the CPU of an action.
    """
    gc.freeze()
    gc.set_threshold(200_000, 10, 100)
