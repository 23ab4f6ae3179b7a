"""One assigned input partition: it takes records, has them processed, and commits what becomes of them.

A record's result is ready at once (the status is known) or later (a lookup was asked), which delays only its
own email. One committer task writes all results that are ready, in that order, in one transaction with the
partition's offsets (:mod:`streams.delivery.offset_tracker`), as soon as it has a slot
(:mod:`streams.delivery.commit_slots`); meanwhile results gather.

Every failure of a transaction is mended in one way: open the transactions again, which takes a new epoch, and
compare what was being written with what is committed. An unknown result or a dead producer is no other case.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from streams.delivery.commit_metadata import MAX_AWAITING, Run, UnreadableMetadata, decode
from streams.delivery.commit_slots import CommitSlots
from streams.delivery.lane_state import LaneLimits, LaneState
from streams.delivery.offset_tracker import OffsetTracker, unsettled
from streams.delivery.refusals import replace_refused
from streams.delivery.results import LaneObserver, Processed, Processor, PutOff, Record, Release, Result
from streams.delivery.timestamps import EARLIEST_MS
from streams.delivery.transaction import (
    Position,
    RecordRefused,
    SharedPort,
    TransactionFailed,
    TransactionPort,
)
from streams.delivery.transaction_size import Portion, TransactionSize

log = logging.getLogger(__name__)

_new = tuple.__new__  # a named tuple's own constructor takes three times as long


class Lane:
    """Takes, processes and commits the records of one partition. All methods are called in one event loop."""

    #: Seconds after which a record that its processor put off ("not now") is processed again, at the latest.
    ASK_AGAIN = 0.02
    #: So many records are processed before the event loop does anything else: some 10 ms.
    SLICE = 2_000

    def __init__(
        self,
        partition: int,
        transactions: TransactionPort,
        processor: Processor,
        observer: LaneObserver,
        *,
        clock: Callable[[], float],
        on_crash: Callable[[Exception], None],
        limits: LaneLimits | None = None,
        slots: CommitSlots | None = None,
    ) -> None:
        """Make a lane that `open` starts.

        Args:
            partition: number of the input partition.
            transactions: writes results and commits offsets, all or nothing.
            processor: decides what becomes of a record.
            observer: is told what happened.
            clock: monotonic seconds.
            on_crash: called once with an error that the lane cannot recover from.
            limits: how much it holds, and how long it waits; None: the defaults.
            slots: shared with the worker's other lanes; None: it commits whenever something is ready.
        """
        self.partition = partition
        #: Why nothing can be committed at the moment: a failure's class, or a sentence; or None.
        self.commit_failure: str | None = None
        self._transactions = transactions
        self._shared = transactions if isinstance(transactions, SharedPort) else None
        self._processor = processor
        self._observer = observer
        self._clock = clock
        self._on_crash = on_crash
        self._limits = LaneLimits() if limits is None else limits
        self._slots = CommitSlots(rest=0.0, gather=0) if slots is None else slots
        self._tracker = OffsetTracker(0)
        self._committed = 0
        self._inbox: deque[Record] = deque()
        self._offered = 0  # the offset after the last one that was offered
        self._ready: list[Processed] = []
        self._held_bytes = 0
        self._writing: Sequence[Processed] = ()  # in the transaction under way, or in one that failed
        self._failures = 0  # in a row
        self._size = TransactionSize(self._limits.uncommitted)
        self._state = LaneState.OPENING
        self._closing_begins = asyncio.Event()  # set from CLOSING on
        self._wake = asyncio.Event()  # the committer has something to do
        self._answered = asyncio.Event()  # a lookup ended
        self._wakes_at = sys.maxsize  # while more lookups are under way, no answer wakes the committer
        self._bug: Exception | None = None  # what the committer reports, and ends with
        self._task: asyncio.Task[None] | None = None
        self._moved_at = clock()

    # -- what others may see ----------------------------------------------------------------------------

    @property
    def accepts(self) -> bool:
        """Whether another chunk may be offered."""
        return self._state <= LaneState.OPEN and len(self._inbox) < self._limits.inbox

    @property
    def offered_up_to(self) -> int:
        """The offset up to which records have been offered."""
        return max(self._offered, self._tracker.position)

    @property
    def awaiting_lookup(self) -> int:
        """Records whose lookups have not ended."""
        return self._tracker.awaiting_lookup

    @property
    def uncommitted(self) -> int:
        """Records processed, or awaiting their lookups, that are not committed."""
        return self._tracker.awaiting_lookup + self._processed()

    @property
    def in_flight(self) -> int:
        """Records taken that are neither committed nor released."""
        return 0 if self._state is LaneState.CLOSED else len(self._inbox) + self.uncommitted

    @property
    def has_work(self) -> bool:
        """Whether any record here waits to be processed, for its lookup, or to be committed."""
        return self._has_more() or bool(self.uncommitted)

    @property
    def committed(self) -> int:
        """The offset that the broker has for this partition."""
        return self._committed

    @property
    def oldest_timestamp_ms(self) -> int | None:
        """The earliest possible timestamp, in ms, of records taken and not committed; None without any."""
        held = [entry.record.timestamp for entries in (self._ready, self._writing) for entry in entries]
        if self._inbox:
            held.append(self._inbox[0].timestamp)
        if (waits := self._tracker.oldest_timestamp_ms) is not None:
            held.append(waits)
        return min((at for at in held if at >= EARLIEST_MS), default=None)

    @property
    def halted(self) -> str | None:
        """Why this partition waits for a person, or None."""
        return self._processor.halted

    @property
    def stalled_for(self) -> float:
        """Seconds since the committed offset moved, or was tried to move; 0 without work, or halted."""
        return self._clock() - self._moved_at if self.has_work and self.halted is None else 0.0

    # -- life -------------------------------------------------------------------------------------------

    async def open(self, begin: Callable[[Position], Awaitable[Position]]) -> None:
        """Fence the predecessor, read how far it got, and start committing. Waits for the cluster.

        Args:
            begin: gives the position to start at, from the committed one.

        Raises:
            TransactionFailed, Denied: the transactions cannot be opened.
            OperatorNeeded: a person has to say where this partition begins.
        """
        committed = await self._transactions.open()
        position = await begin(committed)
        if position != committed:
            # Pinned at once: a crash before the first email must not raise the question again.
            await self._transactions.commit([], position.offset or 0, position.metadata or "")
        self._committed, ahead = self._understood(position)
        self._tracker = OffsetTracker(self._committed, ahead)
        self._state = LaneState.OPEN
        self._task = asyncio.create_task(self._run(), name=f"lane-{self.partition}")

    async def close(self, grace: float = 0.0) -> None:
        """Take nothing more, wait up to `grace` seconds for lookups, commit what is ready, disconnect.

        The rest is the successor's. Waits at most `grace`, `close_within`, a second, and until disconnected.
        """
        self._state = LaneState.DRAINING
        self._release(Release.HANDED_OVER, len(self._inbox))
        self._inbox.clear()
        until = self._clock() + grace
        while self._tracker.awaiting_lookup and (left := until - self._clock()) > 0:
            self._answered.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._answered.wait(), left)
        self._state = LaneState.CLOSING
        self._closing_begins.set()
        self._wake.set()
        if self._task is not None:
            done, _ = await asyncio.wait({self._task}, timeout=self._limits.close_within)
            if not done:
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=1.0)
        self._release(Release.HANDED_OVER, self.in_flight)
        self._state = LaneState.CLOSED
        await self._transactions.close()

    def _release(self, why: Release, count: int) -> None:
        if count:
            self._observer.released(self.partition, why, count)

    # -- processing ---------------------------------------------------------------------------------------

    def offer(self, records: Sequence[Record]) -> None:
        """Take a chunk of records of this partition, in offset order. Never waits."""
        if self._state > LaneState.OPEN:
            return  # revoked: whoever has the partition now reads these again
        if not self.has_work:
            self._moved_at = self._clock()
        self._take(records)
        self._offered = records[-1].offset + 1 if records else self._offered
        try:
            self._advance()
        except Exception as exc:  # the committer reports it: our caller is not to blame
            self._bug = exc
        self._wake.set()

    def _take(self, records: Sequence[Record]) -> None:
        self._inbox.extend(records)
        self._observer.taken(self.partition, len(records))

    def _has_more(self) -> bool:
        return bool(self._inbox)

    def _advance(self) -> bool:
        """Process one slice of the inbox, as far as there is room; True when more can be processed."""
        inbox, tracker, ready, room = self._inbox, self._tracker, self._ready, self._room()
        process, self._wakes_at = self._processor.process, sys.maxsize
        for _ in range(min(len(inbox), self.SLICE)):
            record = inbox[0]
            offset = record.offset
            if offset < tracker.position or (  # read again after a seek; it is taken already
                offset >= tracker.settled_from
                and tracker.settled_before(offset)  # one that stands for many is settled if all of them are
                and tracker.settled_before(getattr(record, "first_offset", offset))
            ):
                inbox.popleft()
                self._release(Release.SETTLED_BEFORE, 1)
                tracker.position = max(tracker.position, offset + 1)
                continue
            if (
                room <= 0
                or self._held_bytes >= self._limits.uncommitted_bytes
                or tracker.awaiting_lookup > MAX_AWAITING  # at this limit, known records still go through
                or not tracker.spans(offset)
            ):
                return False
            try:
                result = process(record)
            except Exception as exc:  # a bug of ours: the record is kept as a dead letter, the rest goes on
                result = self._processor.on_error(record, exc)
            if result is None or result is PutOff.UNTIL_ANSWERED:
                if self._processor.halted is not None:
                    self._moved_at = self._clock()  # when a person lets it go on, it has not been stuck
                self._wakes_at = sys.maxsize if result is None else tracker.awaiting_lookup // 2
                return False
            inbox.popleft()
            room -= 1
            self._held_bytes += len(record.value or b"")
            if isinstance(result, Result):
                tracker.position = offset + 1
                ready.append(_new(Processed, (record, result)))
            else:
                tracker.take(offset, record.timestamp)
                result.answer.add_done_callback(partial(self._settle, record, result.conclude))
        return bool(inbox)

    def _room(self) -> int:
        limits = self._limits
        return min(limits.ready - len(self._ready), limits.uncommitted - self.uncommitted)

    def _settle(
        self, record: Record, conclude: Callable[[asyncio.Future[Any]], Result], answer: asyncio.Future[Any]
    ) -> None:
        if self._state >= LaneState.CLOSING:
            return  # too late: it is the successor's
        try:
            try:
                result = conclude(answer)
            except (Exception, asyncio.CancelledError) as exc:  # result() of a cancelled one raises it
                result = self._processor.on_error(record, exc)
        except Exception as exc:  # not even that: it stays unsettled, so that no commit passes it
            self._bug = exc
        else:
            if self._tracker.settle(record.offset):
                self._ready.append(Processed(record, result))
            else:  # a successor wrote it while we were fenced
                self._held_bytes -= len(record.value or b"")
        self._answered.set()
        if self._tracker.awaiting_lookup <= self._wakes_at:
            self._wake.set()

    # -- committing -------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while not (self._state >= LaneState.CLOSING and not self._ready):
                if not self._has_more():
                    await self._wake.wait()
                elif not self._wake.is_set():
                    again = self.ASK_AGAIN if self._wakes_at == sys.maxsize else self._limits.gather
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), again)
                self._wake.clear()
                if self._bug is not None:
                    raise self._bug
                if not self._has_more():
                    self._wakes_at = sys.maxsize
                elif self._advance():
                    self._wake.set()
                if not await self._commit():
                    return
                if self._wake.is_set():  # else it waits anyway
                    await asyncio.sleep(0)
        except Exception as exc:
            self.commit_failure = type(exc).__name__
            self._on_crash(exc)

    async def _commit(self) -> bool:
        """Write what is ready and how far the partition got, in one transaction.

        False: the lane closes after a failure; another one would claim what this one did not write.
        """
        if not self._ready and self._tracker.commit_point()[0] == self._committed:
            return True
        entries, offset, metadata = list[Processed](), self._committed, ""
        try:
            async with self._slots.slot(self._transactions, self._processed, self._shared) as seat:
                entries, self._ready, offset, metadata = self._portion()
                self._writing = entries
                outgoing = [result.outgoing for _, result in entries if result.outgoing is not None]
                if offset != self._committed:  # a broker that does not answer has all its time from here
                    self._moved_at = self._clock()
                begun = self._clock()
                try:
                    await seat.commit(outgoing, offset, metadata)
                except RecordRefused as refused:
                    replace_refused(entries, refused, self._processor)
                    self._retry(entries)
                    return True
                self._size.took(self._clock() - begun)
        except TransactionFailed as failure:
            if failure.kind == TimeoutError.__name__:
                self._size.timed_out(self._records_in(entries))
            position = await self._reopened(failure)
            if position is None:
                return False
            if position != Position(offset, metadata):
                self._go_on_from(position, entries)
                return True
            # else: the answer was lost, the transaction was not
        self._writing = ()
        self._failures = 0
        self.commit_failure = None
        self._held_bytes -= self._bytes_of(entries)
        if offset != self._committed:
            self._committed, self._moved_at = offset, self._clock()
        if self._tracker.awaiting_lookup <= self._wakes_at and (self._ready or self._has_more()):
            self._wake.set()  # there is room again
        if self._state is not LaneState.CLOSED:  # else they are counted already, as the successor's to decide
            self._observer.committed(self.partition, entries)
        return True

    def _processed(self) -> int:
        return len(self._ready) + len(self._writing)

    def _portion(self) -> Portion:
        return self._size.portion(self._ready, self._tracker)

    def _bytes_of(self, entries: Iterable[Processed]) -> int:
        return sum(len(record.value or b"") for record, _ in entries)

    def _records_in(self, entries: Sequence[Processed]) -> int:
        return len(entries)

    def _retry(self, entries: list[Processed]) -> None:
        self._ready[:0] = entries
        self._writing = ()
        self._wake.set()

    async def _reopened(self, failure: TransactionFailed) -> Position | None:
        """Open the transactions again, however often it takes; None when the lane closes meanwhile."""
        while True:
            self._failures += 1
            self._moved_at = self._clock()
            self.commit_failure = str(failure)
            self._observer.failed(self.partition, failure.kind)
            about = {"event": "transaction_failed", "partition": self.partition}
            text = "partition %d: a transaction failed (%s); opening again"
            log.warning(text, self.partition, self.commit_failure, extra=about)
            if await self._closes_within(self._limits.pause_after(failure, self._failures)):
                return None
            self._moved_at = self._clock()
            try:
                return await self._transactions.open()
            except TransactionFailed as again:
                failure = again

    async def _closes_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing_begins.wait(), seconds)
        return self._state >= LaneState.CLOSING

    def _go_on_from(self, position: Position, entries: list[Processed]) -> None:
        """Keep of what was to be written only what the committed log lacks."""
        committed, ahead = self._understood(position)
        waiting, self._ready = entries + self._ready, []
        awaiting_lookup = self._tracker.awaiting_lookup
        self._tracker.rebase(committed, ahead)
        kept = unsettled([entry.record.offset for entry in waiting], committed, ahead)
        lacking = [entry for entry in waiting if entry.record.offset in kept]
        found = len(waiting) - len(lacking) + awaiting_lookup - self._tracker.awaiting_lookup
        self._release(Release.SETTLED_MEANWHILE, found)
        self._committed = committed
        self._held_bytes -= self._bytes_of(waiting) - self._bytes_of(lacking)
        self._retry(lacking)

    def _understood(self, position: Position) -> tuple[int, list[Run]]:
        offset = position.offset or 0
        try:
            return offset, decode(offset, position.metadata)
        except UnreadableMetadata as exc:
            about = {"event": "commit_metadata_refused", "partition": self.partition}
            log.error("partition %d: commit metadata refused (%s)", self.partition, exc, extra=about)
            self._observer.metadata_refused(self.partition)
            return offset, []
