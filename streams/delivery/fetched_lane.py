"""A lane that also takes fetched batches whole, where a pass can go through them.

What a pass has gone through is one entry in the lane's books: ranges of offsets (a :class:`Run`), beside the
batch that has the emails. While the batch is open, emails of other results go into it, too, so the order
in which emails leave is the order in which they were decided. An entry of many is for the way on which
nothing goes wrong: when a transaction must be looked at again, it is unfolded into one entry for each
record, with the emails as they were written, and all is as in any lane.
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

from streams.delivery.commit_metadata import MAX_AWAITING
from streams.delivery.fetched import EmailsBatch, Fetched, InBatch, Pass, Passes, Run, Step
from streams.delivery.lane import Lane
from streams.delivery.results import Processed, Record, Result
from streams.delivery.timestamps import EARLIEST_MS
from streams.delivery.transaction import Outgoing, Position
from streams.delivery.transaction_size import Portion


class FetchedLane(Lane):
    """A lane with passes. Records that come one by one are processed one by one."""

    def __init__(self, *args: Any, passes: Passes, **more: Any) -> None:
        """Take what a lane takes, and what makes its passes."""
        super().__init__(*args, **more)
        self._passes = passes
        self._behind: deque[Fetched | list[Record]] = deque()  # what follows the inbox
        self._behind_count = 0  # records in it that nobody has taken
        self._first_taken = 0  # records taken of the first of them
        self._pass: Pass | None = None  # over the first of them
        self._batch: EmailsBatch | None = None  # that emails go into
        self._open_run: Run | None = None  # the entry of that batch, once it has one
        self._looked_at = 0  # so many of `_ready` are in the batch, or before it
        # Records less entries, among what is ready, and in the transaction under way.
        self._ready_more = self._writing_more = 0

    # -- what others may see ----------------------------------------------------------------------------

    @property
    def accepts(self) -> bool:
        """Whether another chunk may be offered."""
        return super().accepts and len(self._inbox) + self._behind_count < self._limits.inbox

    @property
    def oldest_timestamp_ms(self) -> int | None:
        """The earliest possible timestamp, in ms, of records taken and not committed; None without any."""
        oldest = super().oldest_timestamp_ms
        if self._behind and not self._inbox:
            first = self._behind[0]
            at = first.timestamp if isinstance(first, Fetched) else first[0].timestamp
            if at >= EARLIEST_MS:
                return at if oldest is None else min(at, oldest)
        return oldest

    def _has_more(self) -> bool:
        return bool(self._inbox or self._behind)

    async def close(self, grace: float = 0.0) -> None:
        """Do as every lane does; what no pass has reached was not taken."""
        self._close_batch()
        self._behind.clear()
        self._behind_count = self._first_taken = 0
        self._pass = None
        await super().close(grace)

    # -- processing ---------------------------------------------------------------------------------------

    def _take(self, records: Sequence[Record]) -> None:
        """Keep what is offered in its order. Records are counted as taken when their turn comes."""
        single: list[Record] = []
        for record in records:
            if type(record) is not Fetched:
                single.append(record)
                continue
            if single:
                self._behind.append(single)
                single = []
            self._behind.append(record)
            self._behind_count += record.count
        if single:
            self._behind.append(single)
        self._behind_count += sum(type(record) is not Fetched for record in records)

    def _advance(self) -> bool:
        """Process a slice of what was offered, as far as there is room; True when more can be processed."""
        left = self.SLICE
        while left > 0:
            if not self._inbox:
                self._wakes_at = sys.maxsize
            elif super()._advance():
                return True
            if self._inbox or not self._behind:
                return False
            done = self._begin_next(left)
            if done is None:
                return False
            left -= done
        return True

    def _room(self) -> int:
        return min(super()._room(), self._limits.ready - len(self._ready) - self._ready_more)

    def _begin_next(self, most: int) -> int | None:
        """Do one step with what follows the inbox, of at most so many emails where a pass does it.

        Returns:
            How many records it took. None: there is no room now.
        """
        first = self._behind[0]
        if not isinstance(first, Fetched):
            self._behind.popleft()
            self._behind_count -= len(first)
            self._passes.one_by_one(len(first))
            return self._to_inbox(first)
        if self._processor.halted is not None:
            self._moved_at = self._clock()  # when a person lets it go on, it has not been stuck
            return None
        tracker, room = self._tracker, self._room()
        if (
            room <= 0
            or self._held_bytes >= self._limits.uncommitted_bytes
            or tracker.awaiting_lookup > MAX_AWAITING
            or not tracker.spans(first.offset)
        ):
            return None
        if self._pass is None:
            # What a predecessor settled beyond its offset is known record by record.
            if tracker.settled_from > first.offset:
                self._pass = self._passes.begin(first, tracker.position)
            if self._pass is None:
                self._leave(first)
                return self._to_inbox(self._passes.records(first, tracker.position))
        return self._go_on(first, self._pass, min(room, most))

    def _go_on(self, fetched: Fetched, over: Pass, room: int) -> int:
        self._put_in()
        if self._batch is None:
            self._batch = self._passes.new_batch(fetched)
        first = max(self._tracker.position, fetched.first_offset)
        step = over.go_on(self._batch, room)
        if step.taken:
            self._note(fetched, first, step)
        self._tracker.position = max(self._tracker.position, step.up_to)
        if step.is_full:
            self._close_batch()
        taken = step.taken + self._to_inbox(step.records)
        self._first_taken += taken
        self._behind_count -= taken
        if step.is_last:
            self._count()
            self._leave(fetched)
        return taken

    def _leave(self, fetched: Fetched) -> None:
        self._behind.popleft()
        self._behind_count -= fetched.count - self._first_taken
        self._first_taken, self._pass = 0, None

    def _to_inbox(self, records: Sequence[Record]) -> int:
        if records:
            self._inbox.extend(records)
            self._observer.taken(self.partition, len(records))
        return len(records)

    def _note(self, fetched: Fetched, first: int, step: Step) -> None:
        """Enter what a step has judged into the books."""
        assert self._batch is not None
        if self._open_run is None:
            self._open_run = run = Run(self._batch, fetched.timestamp)
            within = InBatch.of(Outgoing(self._passes.emails_topic, None, None, []), self._batch)
            self._ready.append(Processed(run, Result(within, run.many)))
            self._ready_more -= 1
            self._looked_at = len(self._ready)
        self._open_run.add(fetched, first, step.up_to, step.taken, step.held)
        self._ready_more += step.taken
        self._held_bytes += step.held
        self._observer.taken(self.partition, step.taken)

    def _put_in(self) -> None:
        """Let emails that became ready after the open batch was begun go into it, in their order."""
        batch, ready = self._batch, self._ready
        if batch is None or self._open_run is None:
            return
        at = self._passes.now_ms()
        for index in range(self._looked_at, len(ready)):
            record, result = ready[index]
            email = result.outgoing
            if email is None or email.topic != self._passes.emails_topic or email.partition is not None:
                continue
            before = batch.record_count()
            try:
                fits = batch.append(timestamp=at, key=email.key, value=email.value, headers=email.headers)
            except UnicodeEncodeError:
                fits = False
            if not fits:
                self._close_batch()
                return
            ready[index] = Processed(record, result._replace(outgoing=InBatch.of(email, batch, before)))
        self._looked_at = len(ready)

    def _count(self) -> None:
        if self._pass is not None and self._open_run is not None:
            self._pass.counted(self._open_run.many)

    def _close_batch(self) -> None:
        """Let the next email begin another batch."""
        self._count()
        self._batch = self._open_run = None
        self._looked_at = 0

    # -- committing -------------------------------------------------------------------------------------

    def _portion(self) -> Portion:
        self._put_in()
        self._close_batch()
        if self._size.most < len(self._ready) + self._ready_more:
            self._unfold_ready()
        portion = super()._portion()
        self._writing_more, self._ready_more = self._ready_more, 0
        return portion

    def _retry(self, entries: list[Processed]) -> None:
        super()._retry(entries)
        self._looked_at += len(entries)
        self._ready_more += _more(entries)

    def _go_on_from(self, position: Position, entries: list[Processed]) -> None:
        self._close_batch()
        self._pass = None  # it begins again, behind what is settled now
        self._unfold_ready()
        super()._go_on_from(position, self._unfolded(entries))

    def _unfold_ready(self) -> None:
        self._ready[:] = self._unfolded(self._ready)
        self._ready_more = 0

    def _unfolded(self, entries: list[Processed]) -> list[Processed]:
        """Return an entry for each record, in the order of the emails."""
        # By id() of their batch, with their places in it.
        beside: dict[int, list[tuple[int, Processed]]] = defaultdict(list)
        for record, result in entries:
            if type(record) is not Run and type(email := result.outgoing) is InBatch:
                single = result._replace(outgoing=Outgoing(*email))
                beside[id(email.batch)].append((email.at, Processed(record, single)))
        unfolded: list[Processed] = []
        for entry in entries:
            if type(run := entry.record) is Run:
                together = [*self._passes.unfolded(run), *beside[id(run.batch)]]
                unfolded += [entry for _, entry in sorted(together, key=lambda each: each[0])]
            elif type(entry.result.outgoing) is not InBatch:
                unfolded.append(entry)
        self._held_bytes += self._bytes_of(unfolded) - self._bytes_of(entries)
        return unfolded

    def _bytes_of(self, entries: Iterable[Processed]) -> int:
        return sum(record.held if type(record) is Run else len(record.value or b"") for record, _ in entries)

    def _processed(self) -> int:
        more = self._writing_more if self._writing else 0
        return len(self._ready) + self._ready_more + len(self._writing) + more

    def _records_in(self, entries: Sequence[Processed]) -> int:
        return len(entries) + _more(entries)


def _more(entries: Iterable[Processed]) -> int:
    return sum(record.count - 1 for record, _ in entries if type(record) is Run)
