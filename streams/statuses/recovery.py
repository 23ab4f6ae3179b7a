"""Faust's recovery of the table from its changelog, a chunk at a time.

Stock Faust takes each changelog record through a queue, an event and two decoders: 70 µs a row, more than a
minute for a million. Here the changelog is delivered like the topics of our agents, in chunks, and each chunk
goes into the store as one batch together with the offset that it ends with. When a recovery starts, from
where it reads, and what follows it is stock Faust; the task that applies is replaced, and with it two flaws:

- It waited for ever for a last offset at which there is nothing to read (a transaction marker, or what
  compaction has removed). Here such an end is passed over once the consumer's position is past it.
- It forgot the signal that a recovery is complete if it came before somebody waited for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from time import monotonic
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP
from mode import Service

from streams.kafka.chunks import Chunk
from streams.statuses.table import rows_of

log = logging.getLogger(__name__)


class ChangelogOwner:
    """Owner of the changelog's partitions: how far it is read is written in the store, and nowhere else."""

    async def assigned(self, partitions: Iterable[int], generation: int) -> None:
        """Do nothing: Faust's recovery begins by itself."""

    async def revoked(self, partitions: Iterable[int]) -> None:
        """Do nothing: each chunk went into the store as a whole, or not at all."""

    def accepts(self, partition: int) -> bool:  # noqa: ARG002 - all alike
        """Return True: Faust pauses the partitions of a changelog itself."""
        return True


class ChunkRecovery(Recovery):
    """See the module."""

    #: Seconds without a chunk after which the consumer's position is looked at.
    IDLE = 0.1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what Faust's recovery takes."""
        super().__init__(*args, **kwargs)
        #: The consumer's rounds when an end was first seen to be passed, by partition, generation and offset.
        self._passed: dict[tuple[TP, int, int], int] = {}

    def _set_recovery_started(self) -> None:
        self.signal_recovery_end.clear()
        self._passed.clear()
        super()._set_recovery_started()

    async def _build_highwaters(self, consumer: Any, tps: set[TP], destination: Any, title: str) -> None:
        # The high watermark, not the last stable offset that a read_committed consumer knows: somebody's open
        # transaction holds recovery up, instead of hiding the rows behind it.
        del consumer, title
        topic_partitions = {tp: TopicPartition(tp.topic, tp.partition) for tp in tps}
        extents = (
            await cast(Any, self.app).startup.offsets.extents(topic_partitions.values())
            if topic_partitions
            else {}
        )
        destination.clear()
        destination.update(
            {tp: extents[topic_partition].end - 1 for tp, topic_partition in topic_partitions.items()}
        )

    @Service.task
    async def _slurp_changelogs(self) -> None:  # the name of the stock task, which is thereby replaced
        chunks = self.tables.changelog_queue
        while not self.should_stop:
            try:
                event = await asyncio.wait_for(chunks.get(), self.IDLE)
            except TimeoutError:
                await self._pass_over_empty_ends()
            else:
                self._restore(event.value)
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
        changes = {record.key: record.value for record in chunk.records if record.offset > seen}
        changes.pop(None, None)  # nobody's row
        rows_of(self.tp_to_table[tp]).put(tp.partition, changes, last)
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
            if self.in_recovery and (left := self.active_remaining_total()) > 0:
                log.info(
                    "restoring the table: up to %d rows to go",
                    left,
                    extra={"event": "restoring", "rows": left},
                )


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
