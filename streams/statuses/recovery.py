"""Recovery of the table from its changelog topic: a chunk at a time, begun anew by each rebalance.

Stock Faust takes each changelog record through a queue, an event and two decoders: 70 µs a row, more than a
minute for a million. Here the changelog is delivered like the topics of our agents, in chunks, and each chunk
goes into the store as one batch together with the offset that it ends with. Stock Faust still lists the
partitions to restore at each assignment, and lets the streams go on after a complete recovery. Two of its
tasks are replaced, and with them these faults:

- A rebalance that interrupted its wait for the end of the changelog was swallowed. It went on with the
  partitions of the new assignment, and the worker crashed. Here a rebalance cancels the whole recovery.
- It took a time-out of Kafka for the stop of the worker, and no recovery ever began again.
- It waited for ever for a last offset at which there is nothing to read (a transaction marker, or what
  compaction has removed). Here such an end is passed over once the consumer's position is past it.
- It forgot the signal that a recovery is complete if it came before somebody waited for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError, KafkaTimeoutError
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP
from mode import Service

from streams.kafka.chunks import Chunk
from streams.messages.unreadable import UnreadableRecords
from streams.statuses.store_owner import SetAside
from streams.statuses.table import rows_of

log = logging.getLogger(__name__)


def behind_unreadable(topic: str, partition: int, records: Sequence[Any]) -> Sequence[Any] | None:
    """Return the records of a changelog behind the last batch that cannot be read; None: all can be.

    Rows from before such a batch must be forgotten: it may have replaced any of them, and a supporter who has
    unsubscribed must not count as a subscriber. A row that is missing is asked for by a lookup.
    """
    at = max((at for at, each in enumerate(records) if type(each) is UnreadableRecords), default=None)
    if at is None:
        return None
    log.error(
        "%s cannot be read: %s. The statuses from before are forgotten, as these may have replaced them:"
        " lookups are asked, or letters have two buttons, until the statuses are written again",
        records[at].place(topic, partition),
        records[at].reason,
        extra={
            "event": "unreadable_batch",
            "topic": topic,
            "partition": partition,
            "offset": records[at].first_offset,
        },
    )
    return records[at + 1 :]


class ChangelogOwner:
    """Owner of the changelog's partitions: how far it is read is written in the store, and nowhere else."""

    async def assigned(self, partitions: Iterable[int], generation: int) -> None:
        """Do nothing: Faust's recovery begins by itself."""

    async def revoked(self, partitions: Iterable[int]) -> None:
        """Do nothing: each chunk went into the store as a whole, or not at all."""

    def accepts(self, partition: int) -> bool:  # noqa: ARG002 - all alike
        """Return True: Faust pauses the partitions of a changelog itself."""
        return True

    def interrupted(self, partition: int) -> None:
        """Do nothing: whether a store belongs to its changelog is asked when it is opened."""

    def is_doubted(self, partition: int) -> bool:  # noqa: ARG002 - all alike
        """Return False."""
        return False


class ChunkRecovery(Recovery):
    """Restores the table's partitions after each assignment, until the next revocation."""

    #: Seconds without a chunk after which the consumer's position is looked at, while the table is restored.
    IDLE = 0.1
    #: Seconds after an error of Kafka until the recovery begins anew.
    RETRY_AFTER = 1.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what Faust's recovery takes."""
        super().__init__(*args, **kwargs)
        #: The recovery of the present assignment, done or under way.
        self._recovering: asyncio.Task[None] | None = None
        #: The consumer's rounds when an end was first seen to be passed, by partition, generation and offset.
        self._passed: dict[tuple[TP, int, int], int] = {}
        self._restoring = asyncio.Event()  # set while the table is restored
        self._chunks_taken = 0

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """End the recovery that is under way: no line of it runs any more. An assignment begins another."""
        del revoked
        self.signal_recovery_start.clear()
        if self._recovering is not None:
            self._recovering.cancel()

    @Service.task
    async def _restart_recovery(self) -> None:  # the name of the stock task, which is thereby replaced
        while not await self.wait_for_stopped(cast(Any, self.signal_recovery_start)):
            if not self.signal_recovery_start.is_set():
                continue  # revoked before it began
            self.signal_recovery_start.clear()
            self._recovering = asyncio.create_task(self._recover(self._generation_id), name="recovery")
            try:
                await asyncio.wait({self._recovering})
            finally:
                self._recovering.cancel()
            if not self._recovering.cancelled():
                self._recovering.result()

    async def _recover(self, generation: int) -> None:
        while True:
            try:
                await self._restore_and_resume(generation)
            except (KafkaError, TimeoutError) as exc:
                # IllegalStateError: a partition is no longer ours, and the next rebalance is near.
                passing = isinstance(exc, TimeoutError | KafkaTimeoutError | IllegalStateError)
                if not (passing or cast(KafkaError, exc).retriable):
                    raise
                log.warning(
                    "the recovery of the table begins anew in %g s: %s",
                    self.RETRY_AFTER,
                    type(exc).__name__,
                    extra={"event": "recovery_restarts"},
                )
                await asyncio.sleep(self.RETRY_AFTER)
            else:
                return

    async def _restore_and_resume(self, generation: int) -> None:
        app, consumer = cast(Any, self.app), cast(Any, self.app.consumer)
        await consumer.seek_wait(await self._first_offsets_to_read())
        if self.need_recovery():
            self._set_recovery_started()
            self._log_rows_to_go("restoring the table: up to %d rows to go")
            consumer.resume_partitions(self.active_tps)
            app.flow_control.resume()
            consumer.resume_flow()
            await app._fetcher.maybe_start()
            await self.signal_recovery_end.wait()
            consumer.pause_partitions(self.active_tps)
        consumer.resume_partitions(self.standby_tps)
        await self.on_recovery_completed(generation)

    async def _first_offsets_to_read(self) -> dict[TP, int]:
        """Return, for each changelog partition of ours, the first offset that its store does not contain."""
        ours = {tp: TopicPartition(tp.topic, tp.partition) for tp in self.active_tps | self.standby_tps}
        # The high watermark, not the last stable offset that a read_committed consumer knows: somebody's open
        # transaction holds recovery up, instead of hiding the rows behind it.
        extents = await cast(Any, self.app).startup.offsets.extents(ours.values()) if ours else {}
        self.active_highwaters.clear()
        start = {}
        for tp, topic_partition in ours.items():
            first, end = extents[topic_partition]
            offsets: dict[TP, int | None] = cast(
                Any, self.active_offsets if tp in self.active_tps else self.standby_offsets
            )
            rows = rows_of(self.tp_to_table[tp])
            contained = rows.begin(tp.partition, offsets[tp])
            if contained is not None and contained >= end:
                rows.begin_anew(tp.partition, SetAside.AHEAD)
                contained = None
            if rows.away(tp.partition) is not None:
                contained = end - 1  # nothing can be restored now: letters leave without these statuses
            offsets[tp] = reached = first - 1 if contained is None else max(contained, first - 1)
            start[tp] = reached + 1
            if tp in self.active_tps:
                self.active_highwaters[tp] = end - 1
        return start

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        # Of stock Faust's steps, those that remain wait here. A rebalance cancels them, and needs no signal.
        await asyncio.wait_for(coro, timeout)

    def _set_recovery_started(self) -> None:
        self.signal_recovery_end.clear()
        self._passed.clear()
        super()._set_recovery_started()
        self._restoring.set()

    def _set_recovery_ended(self) -> None:
        self._restoring.clear()
        super()._set_recovery_ended()

    @Service.task
    async def _slurp_changelogs(self) -> None:  # the name of the stock task, which is thereby replaced
        chunks = self.tables.changelog_queue
        while not self.should_stop:
            event = await chunks.get()
            self._chunks_taken += 1
            for chunk in event.value:
                self._restore(chunk)
            self._end_if_restored()

    @Service.task
    async def _look_for_empty_ends(self) -> None:
        while not self.should_stop:
            await self._restoring.wait()
            taken = self._chunks_taken
            await asyncio.sleep(self.IDLE)
            if taken == self._chunks_taken:
                await self._pass_over_empty_ends()
                self._end_if_restored()

    def _end_if_restored(self) -> None:
        if self.in_recovery and not self.need_recovery():
            self._set_recovery_ended()
            self.signal_recovery_end.set()

    def _restore(self, chunk: Chunk) -> None:
        tp = TP(chunk.topic, chunk.partition)
        if chunk.generation != self.app.consumer_generation_id:
            return  # read again, from what the store contains
        if tp in self.active_tps:
            offsets = self.active_offsets
            self._active_events_received_at[tp] = monotonic()
        elif tp in self.standby_tps:
            offsets = self.standby_offsets
        else:
            return
        known: int | None = offsets[tp]
        seen = -1 if known is None else known
        last = chunk.next_offset - 1
        if last <= seen:
            return
        rows = rows_of(self.tp_to_table[tp])
        records: Sequence[Any] = [record for record in chunk.records if record.offset > seen]
        if (known_from := behind_unreadable(tp.topic, tp.partition, records)) is not None:
            rows.begin_anew(tp.partition, SetAside.UNREADABLE)
            records = known_from
        changes = {record.key: record.value for record in records}
        changes.pop(None, None)  # nobody's row
        rows.put(tp.partition, changes, last)
        offsets[tp] = last
        self._last_flush_at = monotonic()

    async def _pass_over_empty_ends(self) -> None:
        """End a partition's recovery if nothing can be read between what the store contains and the end."""
        if not self.in_recovery:
            return
        consumer, generation = cast(Any, self.app.consumer), self.app.consumer_generation_id
        for tp, highwater in list(self.active_highwaters.items()):
            seen = self.active_offsets[tp]
            if tp not in self.active_tps or seen is None or seen >= highwater:
                continue
            try:
                position = await consumer.position(tp)
            except KafkaError:
                return  # not ours any more, perhaps: the next rebalance starts anew
            if position is None or position <= highwater:
                continue
            # Records before the position may still be on their way to us: they have been handed over, and
            # `seen` with them, once two further rounds are complete.
            since = self._passed.setdefault((tp, generation, seen), consumer.rounds)
            unchanged = generation == self.app.consumer_generation_id and self.active_offsets[tp] == seen
            if unchanged and consumer.rounds >= since + 2 and self.tables.changelog_queue.empty():
                rows_of(self.tp_to_table[tp]).put(tp.partition, {}, highwater)
                self.active_offsets[tp] = highwater

    @Service.task
    async def _publish_stats(self) -> None:  # the stock task draws tables
        while not self.should_stop:
            await self.sleep(self.stats_interval)
            if self.in_recovery and self.need_recovery() and not self.should_stop:
                self._log_rows_to_go("still restoring the table: up to %d rows to go")

    def _log_rows_to_go(self, message: str) -> None:
        left = self.active_remaining_total()
        log.info(message, left, extra={"event": "restoring", "rows": left})


class ChunkTables(TableManager):
    """Faust's tables, restored by :class:`ChunkRecovery`; their schema has to be a ChunkSchema."""

    #: Chunks that may wait to be applied.
    WAITING_MOST = 4

    @property
    def changelog_queue(self) -> Any:
        """The chunks on their way into the store."""
        if self._changelog_queue is None:
            self._changelog_queue = self.app.FlowControlQueue(maxsize=self.WAITING_MOST, clear_on_resume=True)
        return self._changelog_queue

    @property
    def recovery(self) -> Recovery:
        """The recovery of these tables."""
        if self._recovery is None:
            self._recovery = ChunkRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
