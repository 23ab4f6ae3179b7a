"""Follows an action through the topics: re-keying, emails, dead letters, and their retries.

What came of an action was written after it, so the other topics are read from some time before it on, and
only those partitions where it can be: an email lies in the partition that its action was read from, or where
its supporter belongs. Only before an action is called missing, everything is read.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streams.actions.rekeying import rekeyed_from
from streams.commands.action_content import content_of
from streams.commands.audit.auditing import RUN_IN
from streams.commands.audit.snapshot import Log, Snapshot, taken
from streams.commands.dead_letters.letters import letter_of
from streams.commands.dead_letters.retry import retry_of
from streams.commands.installation import Installation
from streams.commands.progress_bar import OnProgress
from streams.commands.topic_reader import RecordId, TopicReader, UnreadablePlace, read_records
from streams.commands.trace.email import email_of
from streams.commands.trace.outcome import Rekeyed, Traced, TraceResult
from streams.commands.trace.searching import Between, NotTraceable, Search, Source, where
from streams.commands.trace.subject import Subject
from streams.delivery.epochs import UNKNOWN, Epochs
from streams.delivery.letter_marks import PASSED_OVER
from streams.delivery.timestamps import is_known
from streams.kafka.topics import marks_topic
from streams.messages.email import EmailWriter
from streams.messages.keys import partition_of
from streams.messages.trace_context import trace_id

_PATIENCE = 10.0  # seconds for the first records of a topic


async def trace(
    installation: Installation,
    subject: Subject,
    between: Between,
    progress: OnProgress = lambda _read, _all: None,
) -> TraceResult:
    """Find the actions of `subject`, and what came of each.

    Raises:
        NotTraceable: it is an email or a dead letter that comes from somewhere else.
        TopicMissing, PartitionMissing: a topic, or the partition of a place, does not exist.
        KafkaError: reading failed.
    """
    started = time.monotonic()
    async with taken(installation) as (snapshot, readers, unreadable):
        search = Search(installation, snapshot, readers, progress)
        following = _Following(installation, snapshot, readers, unreadable, search)
        found = await following.trace(subject, between)
        count = sum(reader.records_read for reader in readers.values())
    return TraceResult(found, count, time.monotonic() - started)


@dataclass(slots=True)
class _Following:
    """One trace under way."""

    installation: Installation
    snapshot: Snapshot
    readers: Mapping[str, TopicReader]
    unreadable: Sequence[UnreadablePlace]
    search: Search
    found: dict[tuple[RecordId, int], Traced] = field(default_factory=dict)  # by place and epoch

    async def trace(self, subject: Subject, between: Between) -> list[Traced]:
        for source in await self.search.sources(subject, between):
            await self._add(source)
        new = list(self.found.values())
        while new:  # a retry is an action of its own
            await self._follow(new)
            before = set(self.found)
            await self._retries(new)
            new = [traced for place, traced in self.found.items() if place not in before]
        return [self.found[place] for place in sorted(self.found)]

    # -- what came of them ---------------------------------------------------------------------------------

    async def _follow(self, new: Collection[Traced]) -> None:
        times = [each.timestamp for each in new]
        known = [at for at in times if at is not None and is_known(at, time.time())]
        since = min(known) - RUN_IN if len(known) == len(times) else None
        await self._find_rekeyed(new, since)
        await self._find_dead_letters(new, since)
        emails = await self._emails.within(self.snapshot.emails.spans, since)
        likely = {number for each in new for number in self._partitions_of(each)}
        await self._find_emails(new, {number: emails[number] for number in likely if number in emails})
        if missing := [each for each in new if each.lacks_all]:
            rest = {
                number: range(span.start, emails[number].start if number in likely else span.stop)
                for number, span in self.snapshot.emails.spans.items()
            }
            await self._find_emails(missing, rest)
            await self._find_passed_over(missing)
            await self._note_what_is_kept(missing)

    def _partitions_of(self, traced: Traced) -> set[int]:
        """The partitions where its email can be, and where it lies if it was re-keyed."""
        key = traced.content and traced.content.key
        partitions = len(self.snapshot.emails.end)
        return {traced.id.partition} | ({partition_of(key, partitions)} if key else set())

    async def _find_rekeyed(self, new: Iterable[Traced], since: int | None) -> None:
        wanted = {(each.id, each.epoch): each for each in new}
        log = self.snapshot.rekeyed
        spans = await self._rekeyed.within(log.spans, since)
        likely = {
            number for each in wanted.values() for number in self._partitions_of(each) - {each.id.partition}
        }
        async for record in self.search.records(
            self._rekeyed, {number: spans[number] for number in likely & spans.keys()}
        ):
            first = rekeyed_from(record)
            if first is None:
                continue
            traced = wanted.get((RecordId(first.partition, first.offset), first.epoch))
            if traced is not None:
                settled = record.offset in self.snapshot.settled_rekeyed[record.partition]
                traced.rekeyed = Rekeyed(RecordId(record.partition, record.offset), settled)

    async def _find_dead_letters(self, new: Iterable[Traced], since: int | None) -> None:
        wanted = {(each.id, each.epoch): each for each in new}
        spans = await self._dead_letters.within(self.snapshot.dead_letters.spans, since)
        async for record in self.search.records(self._dead_letters, spans):
            letter = letter_of(record)
            if letter.topic != self.installation.names.actions or letter.source is None:
                continue
            if letter.last_offset is not None:  # for a whole batch that nobody can read
                its = [each for each in wanted.values() if letter.is_of(each.id, each.epoch)]
            else:
                traced = wanted.get((letter.source, letter.epoch))
                its = [] if traced is None else [traced]
            for each in its:
                each.dead_letters.append(letter)

    async def _find_emails(self, new: Iterable[Traced], spans: Mapping[int, range]) -> None:
        wanted = {each.email_id.encode(): each for each in new}
        async for record in self.search.records(self._emails, spans):
            for name, value in record.headers:
                if name == "ce_id" and value in wanted:
                    wanted[value].emails.append(email_of(record))
                    break

    async def _find_passed_over(self, new: Iterable[Traced]) -> None:
        """Look for actions that have no email since the same action had its email shortly before."""
        wanted = {PASSED_OVER + each.email_id.encode(): each for each in new}
        async for record in self.search.records(self._marks, self.snapshot.marks.spans):
            traced = wanted.get(record.key or b"")
            if traced is not None:
                traced.passed_over_for = (record.value or b"").decode(errors="replace")

    async def _note_what_is_kept(self, missing: Iterable[Traced]) -> None:
        """Find out what nobody can know of an action for which nothing is there."""
        snapshot = self.snapshot
        logs = (snapshot.emails, snapshot.dead_letters, snapshot.rekeyed, snapshot.marks)
        hidden = any(log.held_back for log in logs) or any(
            place.topic != self.installation.names.actions for place in self.unreadable
        )
        kept_since = max(
            await self._kept_since(self._emails, snapshot.emails),
            await self._kept_since(self._dead_letters, snapshot.dead_letters),
            snapshot.marks_since,
        )
        if snapshot.emails_compacted:
            kept_since = max(kept_since, int(time.time() * 1000))
        for each in missing:
            each.is_hidden, each.kept_since = hidden, kept_since

    async def _kept_since(self, reader: TopicReader, log: Log) -> int:
        """Return from when on (milliseconds) everything is kept; 0 where nothing was ever removed."""
        removed = {number: span for number, span in log.spans.items() if span.start}
        empty = any(not span for span in removed.values())
        first = await reader.first_timestamps(removed, _PATIENCE)
        return int(time.time() * 1000) if empty else max(first.values(), default=0)

    async def _retries(self, new: Iterable[Traced]) -> None:
        """Add the retries of these actions' dead letters, and the actions whose retries they are."""
        letters = {letter.id: (each, letter) for each in new for letter in each.dead_letters}
        topic = self.installation.names.dead_letters
        if letters:
            since = min(letter.timestamp for _, letter in letters.values()) - RUN_IN
            spans = await self._actions.within(self.snapshot.actions.spans, since)
            partitions = {each.id.partition for each, _ in letters.values()}
            async for record in self.search.records(
                self._actions, {number: spans[number] for number in partitions}
            ):
                for letter_id in retry_of(record, topic) & letters.keys():
                    retry = RecordId(record.partition, record.offset)
                    letters[letter_id][0].retried_as.append(retry)
                    self._note(retry, record)
        for each in new:
            if each.retry_of is not None and each.retry_of not in letters:
                records = await read_records(topic, self.installation.connection, [each.retry_of])
                for letter in map(letter_of, records.values()):
                    if letter.source is not None and letter.topic == self.installation.names.actions:
                        await self._add(Source(letter.source, letter.epoch))

    # -- records -------------------------------------------------------------------------------------------

    async def _add(self, source: Source) -> None:
        """Note an action, and read its record where that can be done and was not."""
        place, epoch, record = source
        if (place, epoch) in self.found:
            return
        if record is None and self.search.is_kept(source):
            only = {place.partition: range(place.offset, place.offset + 1)}
            async for each in self.search.records(self._actions, only):
                record = each
            if record is None and not any(self._batches_with(place)):
                here = where(self.installation.names.actions, place)
                raise NotTraceable(f"there is no record at {here}: a transaction ended there, or was aborted")
        self._note(place, record, epoch)

    def _note(self, place: RecordId, record: Any | None, epoch: int | None = None) -> None:
        epochs = self._epochs(place.partition)
        epoch = epochs.epoch_of(place.offset) if epoch is None else epoch
        if (place, epoch) in self.found:
            return
        names = self.installation.names
        traced = Traced(place, epoch, EmailWriter(names.actions, place.partition, epoch).id_of(place.offset))
        self.found[place, epoch] = traced
        settled = self.snapshot.settled.get(place.partition)
        if settled is not None:
            traced.committed, traced.is_settled = settled.committed, place.offset in settled
        if record is not None:
            traced.content = content_of(record.value, self.installation.repeats_at)
            traced.timestamp, traced.trace_id = record.timestamp, trace_id(record.headers)
            traced.retry_of = next(iter(retry_of(record, names.dead_letters)), None)
        for batch in self._batches_with(place):
            traced.unreadable = batch.records.reason

    def _batches_with(self, place: RecordId) -> Iterator[UnreadablePlace]:
        """Give the batches of actions with this place that nobody can read."""
        for each in self.unreadable:
            offsets = range(each.records.first_offset, each.records.offset + 1)
            is_here = (each.topic, each.partition) == (self.installation.names.actions, place.partition)
            if is_here and place.offset in offsets:
                yield each

    def _epochs(self, partition: int) -> Epochs:
        return self.snapshot.epochs.get(partition, UNKNOWN)

    @property
    def _actions(self) -> TopicReader:
        return self.readers[self.installation.names.actions]

    @property
    def _emails(self) -> TopicReader:
        return self.readers[self.installation.names.emails]

    @property
    def _dead_letters(self) -> TopicReader:
        return self.readers[self.installation.names.dead_letters]

    @property
    def _rekeyed(self) -> TopicReader:
        return self.readers[self.installation.names.rekeyed]

    @property
    def _marks(self) -> TopicReader:
        return self.readers[marks_topic(self.installation.group)]
