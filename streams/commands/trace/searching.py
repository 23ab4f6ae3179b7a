"""Finds the actions that a trace is asked about.

An action that is given by its place, or by its email's id, is not searched for: ids are made from places, so
they are computed until one fits. One that is given by its actionId is searched for in the actions of a time,
and, where none is left there, in the emails and dead letters, which may be kept for longer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from streams.actions.rekeying import rekeyed_from
from streams.commands.action_content import HasActionId
from streams.commands.audit.auditing import RUN_IN
from streams.commands.audit.snapshot import Snapshot
from streams.commands.dead_letters.letters import letter_of
from streams.commands.installation import Installation, describe
from streams.commands.progress_bar import OnProgress
from streams.commands.topic_reader import RecordId, TopicReader, read_records
from streams.commands.trace.email import action_id_in
from streams.commands.trace.subject import ActionNumber, EmailId, Place, Subject
from streams.delivery.epochs import UNKNOWN
from streams.messages.email import EmailWriter


class NotTraceable(Exception):
    """What was asked about leads to no action. The text is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class Between:
    """When an action that is searched for was written: milliseconds since the epoch. None: no bound."""

    begin: int | None = None
    end: int | None = None


class Source(NamedTuple):
    """Where an action lies, or lay, in which of its partition's epochs; with its record, if that was read."""

    place: RecordId
    epoch: int
    record: Any | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """Looks for actions in what a snapshot has seen."""

    installation: Installation
    snapshot: Snapshot
    readers: Mapping[str, TopicReader]
    progress: OnProgress

    async def sources(self, subject: Subject, between: Between) -> list[Source]:
        """Return the actions of `subject`, each once.

        Raises:
            NotTraceable: it is a place or an id that leads to no action.
            PartitionMissing: it is a place in a partition that does not exist.
            KafkaError: reading failed.
        """
        match subject:
            case ActionNumber(number):
                return await self._of_number(number, between)
            case EmailId(text):
                actions = self.readers[self.installation.names.actions]
                spans = await actions.within(self.snapshot.actions.spans, between.begin, between.end)
                return [self._of_email(text, spans)]
            case Place(topic, place):
                return [await self._of_place(topic, place)]

    async def _of_number(self, action_id: int, between: Between) -> list[Source]:
        names, snapshot = self.installation.names, self.snapshot
        has_it = HasActionId(action_id, self.installation.repeats_at)
        actions = self.readers[names.actions]
        spans = await actions.within(snapshot.actions.spans, between.begin, between.end)
        found = []
        async for record in self.records(actions, spans):
            if has_it(record.value):
                place = RecordId(record.partition, record.offset)
                epoch = snapshot.epochs.get(record.partition, UNKNOWN).epoch_of(record.offset)
                found.append(Source(place, epoch, record))
        if found:
            return found
        since = None if between.begin is None else between.begin - RUN_IN
        left: set[Source] = set()
        for topic, log in ((names.emails, snapshot.emails), (names.dead_letters, snapshot.dead_letters)):
            spans = await self.readers[topic].within(log.spans, since)
            async for record in self.records(self.readers[topic], spans):
                value = record.value or b""
                if topic == names.emails:
                    is_its = b"%d" % action_id in value and action_id_in(value) == action_id
                else:
                    is_its = has_it(value) and letter_of(record).topic == names.actions
                if is_its:
                    with suppress(NotTraceable):  # somebody else's record
                        left.add(self._of_record(topic, record))
        # What is kept, and was not found above, is of another time.
        return [each for each in left if not self.is_kept(each)]

    async def records(self, reader: TopicReader, spans: Mapping[int, range]) -> AsyncIterator[Any]:
        """Give the records of these spans, and tell how many all readers have read. Raises KafkaError."""
        others = sum(each.records_read for each in self.readers.values()) - reader.records_read
        everything = others + reader.records_read + sum(map(len, spans.values()))
        reader.begin(spans)
        async for _, records in reader.chunks():
            self.progress(others + reader.records_read, everything)
            for record in records:
                yield record

    def is_kept(self, source: Source) -> bool:
        """Whether the action itself can still be read."""
        log, (partition, offset) = self.snapshot.actions, source.place
        inside = partition in log.end and log.first[partition] <= offset < log.end[partition]
        return inside and self.snapshot.epochs.get(partition, UNKNOWN).epoch_of(offset) == source.epoch

    async def _of_place(self, topic: str, place: RecordId) -> Source:
        names = self.installation.names
        if topic not in self.readers:
            raise NotTraceable(f"{topic} is none of this installation's topics: {', '.join(self.readers)}")
        (await describe(self.installation)).require_partitions(topic, [place.partition])
        if topic == names.actions:
            if place.offset >= self.snapshot.actions.end[place.partition]:
                raise NotTraceable(f"there is no record at {where(topic, place)}: its log ends before")
            return Source(place, self.snapshot.epochs.get(place.partition, UNKNOWN).epoch_of(place.offset))
        record = (await read_records(topic, self.installation.connection, [place])).get(place)
        if record is None:
            raise NotTraceable(f"there is no record at {where(topic, place)}")
        return self._of_record(topic, record)

    def _of_record(self, topic: str, record: Any) -> Source:
        """Return the action that an email, a dead letter or a re-keyed action comes from."""
        names = self.installation.names
        here = where(topic, RecordId(record.partition, record.offset))
        if topic == names.emails:
            email_id = dict(record.headers).get("ce_id", b"").decode("ascii", "replace")
            return self._of_email(email_id, self.snapshot.actions.spans)
        if topic == names.rekeyed:
            first = rekeyed_from(record)
            if first is None:
                raise NotTraceable(f"{here} does not say where its action lies: no worker wrote it")
            return Source(RecordId(first.partition, first.offset), first.epoch)
        letter = letter_of(record)
        if letter.source is None or letter.topic != names.actions:
            raise NotTraceable(f"{here} is the dead letter of no action of {names.actions}")
        return Source(letter.source, letter.epoch)

    def _of_email(self, email_id: str, likely: Mapping[int, range]) -> Source:
        """Compute the ids of places until one fits: first of these offsets, then of all that there were."""
        everything = {number: range(end) for number, end in self.snapshot.actions.end.items()}
        for spans in (likely, everything):
            for number, span in spans.items():
                epochs = self.snapshot.epochs.get(number, UNKNOWN)
                for epoch in range(epochs.current, -1, -1):
                    id_of = EmailWriter(self.installation.names.actions, number, epoch).id_of
                    for offset in reversed(span):
                        if id_of(offset) == email_id:
                            return Source(RecordId(number, offset), epoch)
        raise NotTraceable(
            f"no action of {self.installation.names.actions}, kept or not, has an email with this id"
        )


def where(topic: str, place: RecordId) -> str:
    """Return a place as text."""
    return f"{topic}/{place.partition}/{place.offset}"
