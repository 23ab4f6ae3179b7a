"""The native pass for one lane, and what Python does beside it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatch

from streams.actions.outcomes import Emailed, Ignored
from streams.delivery.fetched import EmailsBatch, Fetched, Many, Run, Step
from streams.delivery.results import Processed, Record, Result
from streams.delivery.transaction import Outgoing
from streams.messages.no_letter import why_no_letter
from streams.native.email_batch import EmailBatch, ProduceBatch
from streams.native.email_pass import NativePartition, NativePass, Stop
from streams.native.fetches import records_in

#: After a fetch with so many unusual records, of which more than three in four are unusual, so many fetches
#: are not tried.
_MANY, _UNTRIED = 32, 7

#: Bytes of a batch of emails: so many for each byte that was fetched, and so many more, but at most what a
#: batch may have. An email is rarely larger than three actions. Memory is cleared before it is used: to clear
#: a megabyte for each handful of actions would push all else out of the processor's cache.
_ROOM_FOR_EACH, _ROOM_MORE = 4, 16_384

#: Is told the path that actions took ("native" or "python"), why not the native one ("" where it did), and
#: how many.
CountPaths = Callable[[str, str, int], None]


class _Lookup(msgspec.Struct):
    outcome: str
    cause: str | None


class _Email(msgspec.Struct):
    """Of an email: what it is counted by."""

    variant: str
    reason: str
    orgId: int
    lookup: _Lookup | None


_read_email = msgspec.json.Decoder(_Email).decode


class NativePasses:
    """Makes the passes of one lane (:class:`streams.delivery.fetched.Passes`)."""

    def __init__(
        self,
        partition: Callable[[], NativePartition | None],
        place: TopicPartition,
        *,
        emails_topic: str,
        room: Callable[[], int],
        understood: Callable[[int], None],
        now: Callable[[], float],
        count: CountPaths,
    ) -> None:
        """Prepare for a lane; nothing is asked before it has its first records.

        Args:
            partition: what all passes have in common; None: its emails are of more than one epoch.
            place: the partition that is read.
            emails_topic: where emails go.
            room: bytes that a batch of emails may have.
            understood: told how many actions were understood.
            now: seconds since the epoch; NaN while the clock is known to be wrong.
            count: which path actions took.
        """
        self.emails_topic = emails_topic
        self._make_partition, self._place, self._room = partition, place, room
        self._understood, self._now, self._count_paths = understood, now, count
        self._partition: NativePartition | None = None
        self._native: NativePass | None = None
        self._taken = self._unusual = 0  # records of the fetch that the last pass went through
        self._untried = 0  # further fetches for which no pass is made

    def begin(self, fetched: Fetched, next_offset: int) -> _Pass | None:
        """Begin a pass at an offset; None while there is more than one epoch, or the clock is wrong.

        The pass before is over then: one after the other, they use the same memory.

        None also for some fetches after one with hardly any usual record, as when each status has to be asked
        for: to stop at each record costs more than to leave them all to the path in Python.
        """
        now = self._now()
        if math.isnan(now):
            self.one_by_one(fetched.count, "clock")
            return None
        if self._partition is None:
            self._partition = self._make_partition()
        if self._partition is None:
            self.one_by_one(fetched.count, "epoch")
            return None
        if self._unusual >= _MANY and self._unusual > 3 * self._taken:
            self._untried = _UNTRIED
        self._taken = self._unusual = 0
        if self._untried:
            self._untried -= 1
            self.one_by_one(fetched.count, "unusual")
            return None
        if self._native is None:
            self._native = NativePass(self._partition)
        self._native.begin(
            fetched.raw,
            next_offset=next_offset,
            aborted=fetched.aborted,
            inflate=lambda begin, _: fetched.inflated[begin],
            most_records=fetched.count,
        )
        return _Pass(self, fetched, self._native)

    def records(self, fetched: Fetched, next_offset: int) -> list[Record]:
        """Return the records of a fetch from an offset on."""
        return records_in(fetched, self._place, next_offset)

    def new_batch(self, fetched: Fetched) -> EmailsBatch:
        """Return a batch without emails, which a pass over `fetched` will probably not fill."""
        assert self._partition is not None, "a pass has begun"
        size = len(fetched.raw) + sum(map(len, fetched.inflated.values()))
        room = min(self._room(), _ROOM_MORE + _ROOM_FOR_EACH * size)
        return ProduceBatch(EmailBatch(self._partition.library, room))

    def now_ms(self) -> int:
        """Return the time for an email's record, milliseconds since the epoch."""
        return int(self._now() * 1000)

    def one_by_one(self, count: int, why: str = "batch") -> None:
        """So many records were fetched in a form that no pass takes, or at a time when none may be made."""
        self._count_paths("python", why, count)

    def unfolded(self, run: Run) -> list[tuple[int, Processed]]:
        """Return an entry for each record of a run, as the port says."""
        assert isinstance(run.batch, ProduceBatch), "it was made above"
        assert self._partition is not None, "its passes were"
        emails = dict(_emails_in(run.batch, self.emails_topic))
        of_fetch: dict[int, list[tuple[Fetched, int, int]]] = defaultdict(list)
        for each in run.ranges:
            of_fetch[id(each[0])].append(each)
        id_of, entries, last = self._partition.writer.id_of, [], 0
        for ranges in of_fetch.values():
            begins = [first for _, first, _ in ranges]
            for record in self.records(ranges[0][0], begins[0]):
                at = bisect_right(begins, record.offset) - 1
                if record.offset < ranges[at][2]:
                    email = emails.get(id_of(record.offset).encode())
                    last = last if email is None else email[0]
                    entries.append((last, Processed(record, email[1] if email else _ignored(record))))
        return entries

    def _step(self, native: NativePass, batch: EmailsBatch, most: int, fetched: Fetched) -> Step:
        assert isinstance(batch, ProduceBatch), "it was made above"
        emails = batch.emails
        if native.batch is not emails:
            native.put_into(emails)
        state = emails.state
        count, used, (ignored_before, tombstones_before) = state.count, state.used, native.ignored
        now = self._now()
        if math.isnan(now):
            return self._rest(native, fetched, native.next_offset, 0, 0, "clock")
        native.judge_at(now, int(now * 1000), count + most)
        stop = native.go_on()
        ignored, tombstones = native.ignored
        judged = state.count - count + ignored - ignored_before
        taken, held = judged + tombstones - tombstones_before, state.used - used
        if judged:
            self._understood(judged)
        if taken:
            self._count_paths("native", "", taken)
        self._taken += taken
        if stop is Stop.RECORD:
            self._unusual += 1
            record = native.unusual()
            self._count_paths("python", native.why.name.lower(), 1)
            return Step(record.offset, taken, held, [record])
        if stop is Stop.BATCH:
            return self._rest(native, fetched, native.next_offset, taken, held, "batch")
        if stop is Stop.NO_ROOM:
            return Step(native.next_offset, taken, held, (), is_full=state.count < count + most)
        native.end()
        return Step(max(native.next_offset, fetched.offset + 1), taken, held, (), is_last=True)

    def _rest(
        self, native: NativePass, fetched: Fetched, next_offset: int, taken: int, held: int, why: str
    ) -> Step:
        begin, aborted = native.left()
        native.end()
        records = records_in(fetched, self._place, next_offset, begin, aborted)
        self._count_paths("python", why, len(records))
        return Step(next_offset, taken, held, records, is_last=True)


class _Pass:
    """A pass over one fetch."""

    def __init__(self, passes: NativePasses, fetched: Fetched, native: NativePass) -> None:
        self._passes, self._fetched, self._native = passes, fetched, native

    def go_on(self, batch: EmailsBatch, most: int) -> Step:
        return self._passes._step(self._native, batch, most, self._fetched)

    def counted(self, many: Many) -> None:
        self._native.count(many.outcomes, many.timestamps)


def _emails_in(batch: ProduceBatch, topic: str) -> Iterator[tuple[bytes, tuple[int, Result]]]:
    """Give the id of each email in a batch, its place in it, and the result that it is."""
    if not batch.record_count():
        return
    for at, record in enumerate(DefaultRecordBatch(bytes(batch.emails.sealed(0, 0, 0)))):
        headers: dict[str, Any] = dict(record.headers)
        email = _read_email(record.value)
        asked = (email.lookup.outcome, email.lookup.cause or "") if email.lookup else ("", "")
        outcome = Emailed(email.variant, email.reason, *asked, email.orgId)
        outgoing = Outgoing(topic, record.key, record.value, list(record.headers))
        yield headers["ce_id"], (at, Result(outgoing, outcome))


def _ignored(record: Record) -> Result:
    return Result(None, Ignored("tombstone" if record.value is None else str(why_no_letter(record.value))))
