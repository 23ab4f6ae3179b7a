"""The status topic's records on their way into the table."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from aiokafka.errors import KafkaError

from streams.actions.dead_letter import dead_letter_headers, reduced, unreadable_letter, with_key
from streams.delivery.timestamps import latest_true
from streams.delivery.transaction import Outgoing, RecordRefused, RecordTooLarge
from streams.kafka.chunks import Chunk
from streams.messages.decode import ErrorClass, Undecodable
from streams.messages.unreadable import UnreadableRecords
from streams.statuses.row import row_of
from streams.statuses.table import Change, StatusTable, StoreAway

log = logging.getLogger(__name__)


class IngestObserver(Protocol):
    """Counts the rows of the status topic once they are in the table or kept as dead letters."""

    def ingested(self, topic: str, applied: int, outdated: int, dead_letters: Sequence[str]) -> None:
        """So many rows of `topic` changed the table or were older than it; and each dead letter's class."""
        ...


class StatusIngest:
    """Applies chunks of supporter statuses, at least once: applying one again changes nothing."""

    #: Seconds before a chunk that Kafka did not take is tried again.
    RETRY_EVERY = 1.0

    def __init__(
        self,
        statuses: StatusTable,
        observer: IngestObserver,
        write: Callable[[Sequence[Outgoing]], Awaitable[None]],
        dead_letters_topic: str,
        generation: Callable[[], int],
        now: Callable[[], float],
    ) -> None:
        """Read into `statuses`.

        Args:
            statuses: the table.
            observer: counts the rows.
            write: writes records, and raises RecordRefused or KafkaError.
            dead_letters_topic: where rows go that cannot be read; the old row stays.
            generation: the consumer group's current generation.
            now: wall clock, seconds since the epoch.
        """
        self._statuses = statuses
        self._observer = observer
        self._write = write
        self._dead_letters_topic = dead_letters_topic
        self._generation = generation
        self._now = now

    async def ingest(self, chunk: Chunk) -> None:
        """Apply a chunk, however often it takes, unless the partition is somebody else's meanwhile."""
        changes, dead_letters, classes = self._read(chunk)
        while chunk.generation == self._generation():
            try:
                await self._keep(dead_letters)  # they are kept, whatever becomes of the rows
                applied = await self._statuses.apply(chunk.partition, changes)
            except StoreAway:  # the store has said why
                await asyncio.sleep(self.RETRY_EVERY)
            except KafkaError as exc:
                log.warning(
                    "statuses of partition %d: %s, again",
                    chunk.partition,
                    type(exc).__name__,
                    extra={"event": "statuses_again", "topic": chunk.topic, "partition": chunk.partition},
                )
                await asyncio.sleep(self.RETRY_EVERY)
            else:
                self._observer.ingested(chunk.topic, applied, len(changes) - applied, classes)
                chunk.settle()
                return

    async def _keep(self, dead_letters: deque[Outgoing]) -> None:
        """Write all of them. One that its topic refuses is reduced until it is taken. Raises KafkaError."""
        if not dead_letters:
            return
        try:
            await self._write(dead_letters)
            dead_letters.clear()
        except RecordRefused:  # one by one, it shows which
            while dead_letters:
                try:
                    await self._write([dead_letters[0]])
                    dead_letters.popleft()
                except RecordRefused as refused:
                    dead_letters[0] = self._reduced(dead_letters[0], refused)

    def _reduced(self, letter: Outgoing, refused: RecordRefused) -> Outgoing:
        log.warning(
            "statuses of partition %d: a dead letter is refused and shortened",
            letter.partition,
            extra={"event": "dead_letter_shortened", "topic": letter.topic, "partition": letter.partition},
        )
        smaller: Outgoing | None = letter if isinstance(refused, RecordTooLarge) else with_key(letter)
        if smaller is letter:
            smaller = reduced(letter)
        if smaller is None:
            raise KafkaError(f"{letter.topic} has no room for a bare notice")
        return smaller

    def _read(self, chunk: Chunk) -> tuple[list[Change], deque[Outgoing], list[str]]:
        changes: list[Change] = []
        dead_letters: deque[Outgoing] = deque()
        classes: list[str] = []
        now = self._now()
        for record in chunk.records:
            if type(record) is UnreadableRecords:
                dead_letters.append(self._unreadable(chunk, record))
                classes.append(ErrorClass.UNREADABLE)
                continue
            try:
                row = row_of(record.key, record.value, latest_true(record.timestamp, now))
                changes.append((record.key, row))
            except Undecodable as exc:
                origin = chunk.topic, chunk.partition, record.offset
                headers = dead_letter_headers(*origin, record.headers, exc.error_class, exc.json_path)
                dead_letters.append(
                    Outgoing(self._dead_letters_topic, record.key, record.value, headers, chunk.partition)
                )
                classes.append(exc.error_class)
        return changes, dead_letters, classes

    def _unreadable(self, chunk: Chunk, records: UnreadableRecords) -> Outgoing:
        log.error(
            "%s cannot be read: %s; a dead letter says so, and reading goes on. Have these statuses written"
            " again: until then the older ones hold",
            records.place(chunk.topic, chunk.partition),
            records.reason,
            extra={
                "event": "unreadable_batch",
                "topic": chunk.topic,
                "partition": chunk.partition,
                "offset": records.first_offset,
            },
        )
        letter = unreadable_letter(self._dead_letters_topic, chunk.topic, chunk.partition, records)
        return letter._replace(partition=chunk.partition)
