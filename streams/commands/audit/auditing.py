"""The audit itself: reads the topics once and says what became of every action in a range.

Where a range is given, actions and emails are read from some time before it, so that an email finds its
action also where the clocks of producers and workers differ; what lies outside the range is not counted. An
email may come late, so emails are read to their end. Before an action is called missing, the emails before
that are searched too; what the topic's retention has removed is said, not counted as missing.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from streams.actions.dead_letter import read_dead_letter_headers
from streams.actions.rekeying import rekeyed_from
from streams.commands.audit.matching import Matching, Owed
from streams.commands.audit.moments import Moment
from streams.commands.audit.outcome import AuditRange, AuditResult
from streams.commands.audit.snapshot import Log, Snapshot, taken
from streams.commands.installation import Installation
from streams.commands.progress_bar import OnProgress
from streams.commands.topic_reader import RecordId, TopicReader, UnreadablePlace
from streams.delivery.epochs import UNKNOWN
from streams.delivery.letter_marks import PASSED_OVER
from streams.kafka.topics import marks_topic

_NEVER = 1 << 62  # milliseconds
RUN_IN = 900_000  # milliseconds
#: Milliseconds by which clocks of producers and workers may differ. What is read in vain is small.
_CLOCKS_DIFFER = 86_400_000
#: Emails whose action lies further before the range are not attributed.
_LOOK_BACK = 1_000_000  # offsets
#: Neither are those of more actions than this that came to a partition while it was read.
_LOOK_AHEAD = 100_000  # offsets


async def audit(
    installation: Installation, wanted: AuditRange, progress: OnProgress = lambda _read, _all: None
) -> AuditResult:
    """Audit the actions of a range.

    Raises:
        TopicMissing: a topic does not exist.
        PartitionMissing: a partition of the range does not exist.
        KafkaError: reading failed.
    """
    started = time.monotonic()
    async with taken(installation, wanted.partitions) as (snapshot, readers, unreadable):
        found = await _Run(installation, snapshot, readers, unreadable, progress).audit(wanted)
    found.seconds = time.monotonic() - started
    return found


class _Earliest:
    """When the earliest record of each partition is stamped, as far as seen."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, int]] = {}  # offset and milliseconds

    def note(self, number: int, records: Sequence[Any]) -> None:
        """Look at records of partition `number`, in ascending order."""
        here = (records[0].offset, records[0].timestamp)
        self._seen[number] = min(here, self._seen.get(number, here))

    def kept_since(self, log: Log) -> int:
        """Return from when on (milliseconds) everything is kept; 0 where nothing was ever removed.

        A partition that has nothing left keeps nothing. A record may be in any partition: all count.
        """
        removed = (number for number, first in log.first.items() if first > 0)
        return max((self._seen.get(number, (0, _NEVER))[1] for number in removed), default=0)


class _Run:
    """One audit under way."""

    def __init__(
        self,
        installation: Installation,
        snapshot: Snapshot,
        readers: Mapping[str, TopicReader],
        unreadable: Collection[UnreadablePlace],
        progress: OnProgress,
    ) -> None:
        names = installation.names
        self._topic = names.actions
        self._repeats_at = installation.repeats_at
        self._snapshot = snapshot
        self._actions, self._emails = readers[names.actions], readers[names.emails]
        self._dead_letters, self._rekeyed = readers[names.dead_letters], readers[names.rekeyed]
        self._marks = readers[marks_topic(installation.group)]
        self._unreadable = unreadable  # what the readers have passed over so far
        self._progress = progress
        self._email_times, self._dead_letter_times = _Earliest(), _Earliest()

    async def audit(self, wanted: AuditRange) -> AuditResult:
        snapshot = self._snapshot
        counted, spans = await self._actions_wanted(wanted)
        dead_lettered = await self._dead_lettered()
        matching = Matching(self._topic, counted, dead_lettered, snapshot.epochs, self._repeats_at)
        emails = await self._match(matching, spans)
        for look in (self._passed_over, partial(self._rescue, read=emails)):
            if any(each.id.offset in snapshot.settled[each.id.partition] for each in matching.owed):
                await look(matching)
        owed = matching.owed
        found = AuditResult(
            matching.counts,
            never_committed=all(each.committed is None for each in snapshot.settled.values()),
            open_transactions=snapshot.emails.held_back,
            compacted=snapshot.emails_compacted,
            epochs=snapshot.epochs,
        )
        self._note_unreadable(found, counted, dead_lettered)
        await self._classify(found, owed)
        found.unasked, found.unattributed = matching.resolve(
            lambda number: (
                range(counted[number].stop, snapshot.actions.end[number] + _LOOK_AHEAD),
                range(counted[number].start - 1, max(-1, counted[number].start - _LOOK_BACK), -1),
            )
        )
        found.doubled = matching.doubled
        return found

    async def _actions_wanted(self, wanted: AuditRange) -> tuple[dict[int, range], dict[int, range]]:
        """By partition, which actions count and which are read."""
        log = self._snapshot.actions
        begin = await self._at(wanted.begin, log.first)
        end = await self._at(wanted.end, log.end)
        run_in = begin
        if wanted.begin is not None and wanted.begin.milliseconds is not None:
            earlier = Moment(milliseconds=max(0, wanted.begin.milliseconds - RUN_IN))
            run_in = await self._at(earlier, log.first)
        counted, spans = {}, {}
        for number, last in log.end.items():
            chosen = not wanted.partitions or number in wanted.partitions
            first = min(max(begin[number], log.first[number]), last)
            counted[number] = range(first, max(first, min(end[number], last)) if chosen else first)
            spans[number] = range(max(run_in[number], log.first[number]), last)
        return counted, spans

    async def _at(self, moment: Moment | None, unbounded: Mapping[int, int]) -> Mapping[int, int]:
        if moment is None:
            return unbounded
        if moment.offset is not None:
            return dict.fromkeys(unbounded, moment.offset)
        assert moment.milliseconds is not None
        found = await self._actions.offsets_at(list(unbounded), moment.milliseconds)
        ends = self._snapshot.actions.end
        return {number: ends[number] if at is None else at for number, at in found.items()}

    async def _dead_lettered(self) -> dict[int, frozenset[int]]:
        """By partition of actions, the offsets for which there is a dead letter."""
        self._dead_letters.begin(self._snapshot.dead_letters.spans)
        offsets: dict[int, array[int]] = {}
        async for number, records in self._dead_letters.chunks():
            self._dead_letter_times.note(number, records)
            for record in records:
                origin = read_dead_letter_headers(record.headers)
                if origin.topic != self._topic or origin.partition is None or origin.offset is None:
                    continue
                if self._in_log(origin.partition, origin.offset, origin.epoch):
                    offsets.setdefault(origin.partition, array("q")).append(origin.offset)
        return {partition: frozenset(each) for partition, each in offsets.items()}

    def _note_unreadable(
        self,
        found: AuditResult,
        counted: Mapping[int, range],
        dead_lettered: Mapping[int, Collection[int]],
    ) -> None:
        """Tell the batches of actions that a person has passed over from those that lie there undecided."""
        for place in self._unreadable:
            if place.topic == self._topic:
                here = range(place.records.first_offset, place.records.offset + 1)
                among = counted[place.partition]
                if here.stop <= among.start or among.stop <= here.start:
                    continue
                if any(offset in here for offset in dead_lettered.get(place.partition, ())):
                    found.counts.unreadable += 1
                    found.counts.dead_lettered += 1
                    continue
            found.unreadable.append(place)

    async def _match(self, matching: Matching, spans: Mapping[int, range]) -> dict[int, range]:
        """Read both topics to their ends; returns which emails were read."""
        actions, emails = self._actions, self._emails
        actions.begin(spans)
        reading = await self._begin_emails(matching, spans)
        everything = sum(map(len, spans.values())) + sum(map(len, reading.values()))
        while not (actions.done and emails.done):
            # What waits on one side is looked for on the other.
            if emails.done or (not actions.done and matching.actions_ahead <= 0):
                for number, records in (await actions.chunk()).items():
                    matching.actions(number, records)
            else:
                for number, records in (await emails.chunk()).items():
                    self._email_times.note(number, records)
                    matching.emails(records)
            self._progress(actions.records_read + emails.records_read, everything)
        return reading

    async def _begin_emails(self, matching: Matching, spans: Mapping[int, range]) -> dict[int, range]:
        """Begin to read emails: all of them, or from some time before the first action that is read."""
        spans_of_emails = self._snapshot.emails.spans
        if any(span.start for span in spans.values()):
            first = [
                records[0].timestamp
                for number, records in (await self._first_chunks(matching)).items()
                if spans[number]
            ]
            spans_of_emails = await self._emails.within(spans_of_emails, min(first, default=0) - RUN_IN)
        self._emails.begin(spans_of_emails)
        return spans_of_emails

    async def _first_chunks(self, matching: Matching) -> dict[int, list[Any]]:
        """Take actions until each partition has shown its first ones, or is at its end."""
        first: dict[int, list[Any]] = {}
        while not self._actions.unread_partitions <= first.keys():
            for number, records in (await self._actions.chunk()).items():
                matching.actions(number, records)
                first.setdefault(number, records[:1])
        return first

    async def _passed_over(self, matching: Matching) -> None:
        """Look for what is owed among the actions that the worker passed over."""
        spans = self._snapshot.marks.spans
        if not spans:
            return
        earliest = min(int(time.time() * 1000), *(each.timestamp for each in matching.owed))
        self._marks.begin(await self._marks.within(spans, earliest - _CLOCKS_DIFFER))
        async for _, records in self._marks.chunks():
            keys = [record.key or b"" for record in records]
            matching.passed_over(key[len(PASSED_OVER) :] for key in keys if key.startswith(PASSED_OVER))

    async def _rescue(self, matching: Matching, read: Mapping[int, range]) -> None:
        """Look for what is owed among the emails before those that were read."""
        first = self._snapshot.emails.first
        self._emails.begin({number: range(first[number], span.start) for number, span in read.items()})
        while not self._emails.done and matching.waiting:
            for number, records in (await self._emails.chunk()).items():
                self._email_times.note(number, records)
                matching.rescue(records)

    async def _classify(self, found: AuditResult, owed: Iterable[Owed]) -> None:
        """Tell what is missing from what is not there yet, and from what cannot be known."""
        snapshot = self._snapshot
        candidates = []
        for each in owed:
            if each.id.offset in snapshot.settled[each.id.partition]:
                candidates.append(each)
            else:
                found.in_flight += 1
        moving = await self._moving() if candidates else frozenset()
        emails_since = self._email_times.kept_since(snapshot.emails)
        dead_letters_since = self._dead_letter_times.kept_since(snapshot.dead_letters)
        hidden = (
            snapshot.emails.held_back
            or snapshot.dead_letters.held_back
            or snapshot.rekeyed.held_back
            or snapshot.marks.held_back
            or any(place.topic != self._topic for place in self._unreadable)
        )
        for each in candidates:
            if each.id in moving:
                found.in_flight += 1
            elif hidden:
                found.held_back += 1
            elif found.compacted or each.timestamp < (
                dead_letters_since if each.action_id is None else max(emails_since, snapshot.marks_since)
            ):
                found.expired += 1
            else:
                found.missing.append(each)

    async def _moving(self) -> frozenset[RecordId]:
        """Actions that wait in the topic of re-keyed ones."""
        log = self._snapshot.rekeyed
        settled = self._snapshot.settled_rekeyed
        self._rekeyed.begin(
            {
                number: range(max(log.first[number], settled[number].committed or 0), end)
                for number, end in log.end.items()
            }
        )
        moving = set()
        async for number, records in self._rekeyed.chunks():
            for record in records:
                origin = rekeyed_from(record)
                if record.offset not in settled[number] and origin is not None and self._in_log(*origin):
                    moving.add(RecordId(origin.partition, origin.offset))
        return frozenset(moving)

    def _in_log(self, partition: int, offset: int, epoch: int) -> bool:
        """Whether a place of the actions, as it was in an epoch, is of the record that is there now."""
        return self._snapshot.epochs.get(partition, UNKNOWN).epoch_of(offset) == epoch
