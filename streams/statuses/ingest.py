"""The status topic's records on their way into the table."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from streams.actions.dead_letter import SHORTENED_TO, dead_letter_headers, shortened
from streams.kafka.chunks import Chunk
from streams.messages.decode import ErrorClass, Undecodable, decode_supporter_status
from streams.statuses.row import Row
from streams.statuses.table import Change, SendMany, StatusTable, StoreAway

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
        send_many: Callable[[], SendMany],
        dead_letters_topic: str,
        generation: Callable[[], int],
    ) -> None:
        """Read into `statuses`.

        Args:
            statuses: the table.
            observer: counts the rows.
            send_many: gives the started producer's method.
            dead_letters_topic: where rows go that cannot be read; the old row stays.
            generation: the consumer group's current generation.
        """
        self._statuses = statuses
        self._observer = observer
        self._send_many = send_many
        self._dead_letters_topic = dead_letters_topic
        self._generation = generation

    async def ingest(self, chunk: Chunk) -> None:
        """Apply a chunk, however often it takes, unless the partition is somebody else's meanwhile."""
        changes, dead_letters, classes = self._read(chunk)
        while chunk.generation == self._generation():
            try:
                if dead_letters:
                    await self._send_many()(self._dead_letters_topic, chunk.partition, dead_letters)
                    dead_letters = []  # they are kept, whatever becomes of the rows
                applied = await self._statuses.apply(chunk.partition, changes)
            except MessageSizeTooLargeError:  # no row is large, so it is a dead letter
                log.warning(
                    "statuses of partition %d: a dead letter is shortened",
                    chunk.partition,
                    extra={
                        "event": "dead_letter_shortened",
                        "topic": chunk.topic,
                        "partition": chunk.partition,
                    },
                )
                dead_letters = [
                    (key, *shortened(value, headers))
                    if len(value or b"") > SHORTENED_TO
                    else (key, value, headers)
                    for key, value, headers in dead_letters
                ]
                await asyncio.sleep(self.RETRY_EVERY)
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

    def _read(self, chunk: Chunk) -> tuple[list[Change], list[Any], list[str]]:
        changes: list[Change] = []
        dead_letters: list[Any] = []
        classes: list[str] = []
        for record in chunk.records:
            try:
                changes.append(_change(record))
            except Undecodable as exc:
                origin = chunk.topic, chunk.partition, record.offset
                headers = dead_letter_headers(*origin, record.headers, exc.error_class, exc.json_path)
                dead_letters.append((record.key, record.value, headers))
                classes.append(exc.error_class)
        return changes, dead_letters, classes


def _change(record: Any) -> Change:
    if record.value is None:
        if not record.key:
            raise Undecodable(ErrorClass.FIELD_MISSING, "$key")
        return record.key, None
    status = decode_supporter_status(record.key, record.value)
    return record.key, Row(status.subscribed, status.as_of)
