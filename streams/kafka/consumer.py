"""Faust's aiokafka consumer, delivering chunks.

Assignment, rebalance, commit loop and flow control are stock Faust, and so are topics without a ChunkSchema.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.transport.consumer import CONSUMER_FETCHING
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import Message

from streams.kafka.chunks import Chunk, ChunkSchema, ChunkSchemas, Part, in_turns, message_of
from streams.kafka.client_state import Membership, coordinator_is_known, fetch_position, membership
from streams.kafka.consumer_thread import ChunkConsumerThread
from streams.kafka.delivered_chunks import DeliveredChunks

log = logging.getLogger(__name__)

#: Seconds that a fetch may wait for records; it ends at once when the flow stops or a partition is resumed.
_WAIT = 1.0
_WAIT_WHILE_RESTORING = 0.2  # a recovery begins and ends after the fetch that is under way
_WAIT_WHILE_HELD = 0.02  # the owner of a partition takes nothing now: it is soon asked again
#: Seconds that a rebalance waits for a fetch in the worst case.
_FETCH_ENDS_WITHIN = 2.0
#: Chunks of a topic without an owner that its agent may have before it. Faust drops a topic's `maxsize`: the
#: agent's queue would take 4,096 of them, which is gigabytes.
_WAITING_CHUNKS = 8


class ChunkConsumer(driver.Consumer):
    """Reads whole chunks of the topics that have a :class:`ChunkSchema`, and other topics as Faust does."""

    _thread: ChunkConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what Faust's consumer takes."""
        self._delivered = DeliveredChunks()  # of partitions without an owner
        #: Of the topics.
        self.schemas = ChunkSchemas(self._topics)
        #: Where partitions are read from in the next round, whatever was read of them before.
        self._read_from: dict[TP, int] = {}
        #: As which this worker has, or had last, its partitions; None: it had none yet.
        self.membership: Membership | None = None
        #: Rounds of fetching and handing over that are complete.
        self.rounds = 0
        self._no_fetch = asyncio.Event()  # set while none is under way
        self._no_fetch.set()
        self._delivery: asyncio.Timeout | None = None  # of handing over; `stop_flow` ends it
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> ChunkConsumerThread:
        return ChunkConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _topics(self) -> Mapping[str, Any]:
        return cast(Any, self.app.topics)._topic_name_index  # type: ignore[no-any-return]  # Faust ships no types

    def takes_chunks(self, topic: str) -> bool:
        """Whether the records of `topic` go to its agent in chunks."""
        return self.schemas.of(topic) is not None

    def unsettled_chunks(self, tp: TP, before: float = math.inf) -> int:
        """Chunks of `tp` that were handed over and not settled, and begin before this offset."""
        return self._delivered.unsettled(tp, before)

    @property
    def coordinated(self) -> bool:
        """Whether a broker is known that coordinates the group; not while its heartbeats fail."""
        return coordinator_is_known(self._thread._consumer)

    @property
    def group_fault(self) -> str | None:
        """What keeps this worker out of its group, a sentence; None: nothing that is known."""
        return self._thread.group_fault

    @property
    def silent_for(self) -> float:
        """Seconds since the event loop of the consumer's thread turned; 0 before it begins."""
        return self._thread.silent_for

    def fetch_position(self, tp: TP) -> tuple[int, int] | None:
        """The end of a partition's log, and the offset up to which it was fetched; None: not known yet."""
        return fetch_position(self._thread._consumer, TopicPartition(tp.topic, tp.partition))

    def interrupted(self, tp: TP) -> None:
        """A broker refused a fetch: tell the owner of the partition. Called in the consumer's thread."""
        schema = self.schemas.of(tp.topic)
        if schema is not None and schema.owner is not None:
            self.loop.call_soon_threadsafe(schema.owner.interrupted, tp.partition)

    def look_at_topics(self) -> None:
        """Let the client read the metadata of its topics now, and not only every few minutes."""
        self._thread.look_at_topics()

    async def verify_all_partitions_active(self) -> None:
        """Let Faust look for streams that stand still, but not where chunks go: they only look so."""
        for tp in self.assignment():
            if not self.takes_chunks(tp.topic):
                self.verify_event_path(asyncio.get_running_loop().time(), tp)

    # -- rebalance --------------------------------------------------------------------------------------

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Tell the owners before Faust goes on."""
        self.membership = membership(self._thread._consumer, generation_id)
        self.schemas.forget()
        # How far the last generation had read says nothing about this one: Faust lets us fetch before it
        # seeks, and what it takes to be read already would be passed over.
        self._read_offset.update(dict.fromkeys(assigned))
        for schema, partitions in self._owned(assigned):
            assert schema.owner is not None
            await schema.owner.assigned(partitions, generation_id)
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget what was handed over, and let the owners finish, before the group goes on without us."""
        # First of all: Faust acknowledges an event that it skips because of the rebalance.
        for tp in revoked:
            self._delivered.forget(tp)
            self._read_from.pop(tp, None)
        await super().on_partitions_revoked(revoked)  # stops the flow
        # A fetch that goes on into the next generation would return records of that one, dropped as old.
        try:
            await asyncio.wait_for(self._no_fetch.wait(), _FETCH_ENDS_WITHIN)
        except TimeoutError:
            log.warning("a fetch outlives a rebalance", extra={"event": "fetch_outlives_rebalance"})
        for schema, partitions in self._owned(revoked):
            assert schema.owner is not None
            await schema.owner.revoked(partitions)

    def _owned(self, tps: set[TP]) -> Iterator[tuple[ChunkSchema, set[int]]]:
        for topic in sorted(self._topics()):
            schema = self.schemas.of(topic)
            if schema is not None and schema.owner is not None:
                yield schema, {tp.partition for tp in tps if tp.topic == topic}

    # -- delivery ---------------------------------------------------------------------------------------

    def _open_partitions(self) -> set[TP]:
        # Faust pauses and resumes by changing its own set of active partitions in place: it stays untouched.
        active: set[TP] = self._active_partitions or self._get_active_partitions()
        waiting = self._delivered.unsettled_by_topic()
        schemas = {topic: self.schemas.of(topic) for topic in {tp.topic for tp in active}}
        owners = {topic: None if schema is None else schema.owner for topic, schema in schemas.items()}
        return {
            tp
            for tp in active
            if waiting[tp.topic] < _WAITING_CHUNKS
            and ((owner := owners[tp.topic]) is None or owner.accepts(tp.partition))
        }

    async def _drain_messages(self, fetcher: Any) -> None:
        # The stock loop, but what stops the flow is looked at once a fetched set, and not once a message.
        try:
            while not (self.should_stop or fetcher.should_stop):
                self.diag.set_flag(CONSUMER_FETCHING)
                # Resumed and stopped before this task had its turn: no fetch, or a rebalance waits for it.
                while not (self.flow_active or self.should_stop or fetcher.should_stop):
                    await self.wait(cast(Any, self.can_resume_flow))  # mode types its own Event only
                if not self.flow_active:
                    continue
                if self._read_from:
                    await self._go_where_told()
                    continue  # the flow may have stopped meanwhile
                generation = self.app.consumer_generation_id
                self._no_fetch.clear()
                try:
                    records, active = await self._next_records()
                finally:
                    self._no_fetch.set()
                if self.should_stop:
                    continue
                if not self.flow_active:
                    try:
                        await self.perform_seek()
                    except Exception as exc:
                        # A healthy start may meet it; the flow resumes with a seek of its own.
                        log.debug("seeking failed: %s", type(exc).__name__, extra={"event": "seek_failed"})
                elif records and generation == self.app.consumer_generation_id:
                    await self._deliver_in_flow(records, active, generation)
                self.rounds += 1
                self.diag.unset_flag(CONSUMER_FETCHING)
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        finally:
            self.diag.unset_flag(CONSUMER_FETCHING)

    async def _next_records(self) -> tuple[Any, set[TP]]:
        partitions = self._open_partitions()
        if not partitions:
            await self.sleep(_WAIT_WHILE_HELD)  # stock sleeps a whole second
            return {}, partitions
        held = len(partitions) < len(self._active_partitions or ())
        timeout = _WAIT_WHILE_HELD if held else _WAIT_WHILE_RESTORING if self.app.in_recovery else _WAIT
        return await self._getmany(active_partitions=partitions, timeout=timeout), partitions

    async def _deliver_in_flow(self, records: Any, active: set[TP], generation: int) -> None:
        try:
            async with asyncio.timeout(None) as delivery:
                self._delivery = delivery
                await self._deliver(records, active, generation)
        except TimeoutError:
            if not delivery.expired():
                raise
        finally:
            self._delivery = None

    def stop_flow(self) -> None:
        """Hand over nothing more, and wait no longer for a place in an agent's queue."""
        super().stop_flow()
        self._thread.end_fetch()
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.reschedule(self.loop.time())

    def resume_partitions(self, tps: Any) -> None:
        """Read these partitions from the next fetch on, which begins now."""
        super().resume_partitions(tps)
        self._thread.end_fetch()

    def on_buffer_drop(self, tp: TP) -> None:
        """Read a partition again whose queue was full, from the next fetch on, which begins now."""
        if tp in self._buffered_partitions:
            super().on_buffer_drop(tp)
            self._thread.end_fetch()

    async def _deliver(self, records: Mapping[Any, Any], active: set[TP], generation: int) -> None:
        one_by_one: dict[TP, Any] = {}
        whole: list[Part] = []
        for tp, fetched in records.items():
            if tp not in active and tp not in self._buffered_partitions:
                continue
            schema = self.schemas.of(tp.topic)
            if schema is None:
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                one_by_one[tp] = fetched
            else:
                whole.append((tp, schema, fetched))
        for count, (tp, record) in enumerate(self.scheduler.iterate(one_by_one), 1):
            if not self._is_current(generation):
                return
            await self._deliver_one(tp, record)
            if count % 100 == 0:
                await asyncio.sleep(0)
        doubted: set[TP] = set()
        for turn in in_turns(whole):
            if not self._is_current(generation):
                return
            chunks = [chunk async for chunk in self._unread(turn, generation, doubted)]
            if chunks and self._is_current(generation):
                await self._deliver_chunks(turn[0][1], chunks)

    def _is_current(self, generation: int) -> bool:
        return self.flow_active and bool(self.app.consumer_generation_id == generation)

    async def _unread(self, turn: list[Part], generation: int, doubted: set[TP]) -> AsyncIterator[Chunk]:
        for tp, schema, records in turn:
            if tp in doubted:
                continue  # also if it is trusted by now: it is read again from what came before
            position = self._read_offset[tp]
            if position is not None and records[0].offset < position:
                records = [record for record in records if record.offset >= position]
            if not records:
                continue
            if schema.owner is not None and schema.owner.is_doubted(tp.partition):
                first = getattr(records[0], "first_offset", records[0].offset)  # of what stands for many
                doubted.add(tp)
                await self.seek(tp, first if position is None else position)
            else:
                yield Chunk(tp, records, generation, position)

    async def _deliver_one(self, tp: TP, record: Any) -> None:
        read = self._read_offset[tp]
        if read is None or record.offset >= read:
            if read and record.offset - read > 1 and self.app.topics.acks_enabled_for(record.topic):
                await self._add_gap(tp, read + 1, record.offset)
            await self.callback(self._to_message(tp, record))
            self._read_offset[tp] = record.offset

    async def _deliver_chunks(self, schema: ChunkSchema, chunks: list[Chunk]) -> None:
        if schema.owner is None:
            for chunk in chunks:
                self._delivered.add(chunk)
        try:
            await self.callback(message_of(chunks))
        except asyncio.CancelledError:
            # Suspended while the queue was full: not handed over, and read again after the seek.
            for chunk in chunks:
                self._delivered.take_back(chunk)
            if self.flow_active:
                raise
            return
        for chunk in chunks:
            self._read_offset[chunk.tp] = chunk.next_offset

    # -- the offsets that Faust commits -----------------------------------------------------------------

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        settled = self._delivered.to_commit()
        return (tp for tp in settled if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._delivered.pop_settled(tp)

    def ack(self, message: Message) -> bool:
        """Count nothing for a chunk: Faust also acknowledges events that it skips."""
        if not self.takes_chunks(message.topic):
            return super().ack(message)
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    def read_from(self, tp: TP, offset: int) -> None:
        """Let the next round of fetching read `tp` from `offset` on. Never waits."""
        self._read_from[tp] = offset
        self._thread.end_fetch()

    async def _go_where_told(self) -> None:
        # Between two rounds: nothing is being fetched or handed over that would be taken for what follows.
        while self._read_from:
            tp, offset = self._read_from.popitem()
            try:
                await self.seek_wait({tp: offset})
            except (KafkaError, TimeoutError) as exc:  # not ours any more: a rebalance is near
                about = {"event": "seek_failed", "topic": tp.topic, "partition": tp.partition}
                text = "partition %d of %s cannot be read from offset %d: %s"
                log.warning(text, tp.partition, tp.topic, offset, type(exc).__name__, extra=about)

    async def seek(self, partition: TP, offset: int) -> None:
        """Go to `offset`; what was handed over of the partition no longer counts."""
        self._delivered.forget(partition)
        await super().seek(partition, offset)

    async def perform_seek(self) -> None:
        """Go to the committed offsets; what was handed over no longer counts."""
        self._delivered.forget_all()
        await super().perform_seek()
