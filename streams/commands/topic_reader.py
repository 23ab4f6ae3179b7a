"""Reads one topic's partitions at an even pace, committed records only, from given offsets to given ends."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

FETCH = 8 << 20  # bytes of a whole answer
FETCH_OF_PARTITION = 1 << 20  # bytes; the broker sends a larger record all the same
_WAIT = 500  # milliseconds
#: A partition whose records are so much later than another's waits for it, in milliseconds.
_AHEAD = 300_000


class Reading:
    """Hands out the records of one topic, chunk by chunk, until every partition is at its end.

    A partition that is far ahead of the others, by its records' timestamps, is paused: an action and its
    email may be in different partitions, and should be met at about the same time.
    """

    def __init__(self, topic: str, connection: Mapping[str, Any]) -> None:
        """Describe it; `start` connects."""
        self._topic = topic
        self._connection = connection
        self._consumer: Any = None
        self._ends: dict[int, int] = {}
        self._times: dict[int, int] = {}
        self._paused: set[int] = set()
        self.read = 0  # records

    async def start(self) -> None:
        """Connect. Raises KafkaError."""
        self._consumer = AIOKafkaConsumer(
            **self._connection,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # where retention overtakes the reading
            fetch_max_bytes=FETCH,
            max_partition_fetch_bytes=FETCH_OF_PARTITION,
            request_timeout_ms=30_000,
        )
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def stable_ends(self, partitions: list[int]) -> dict[int, int]:
        """Return where each partition ends for who reads committed records only (its last stable offset)."""
        ends = await self._consumer.end_offsets([TopicPartition(self._topic, each) for each in partitions])
        return {place.partition: offset for place, offset in ends.items()}

    async def at_time(self, partitions: list[int], milliseconds: int) -> dict[int, int | None]:
        """Return each partition's first offset stamped at or after a time; None where there is none."""
        found = await self._consumer.offsets_for_times(
            {TopicPartition(self._topic, each): milliseconds for each in partitions}
        )
        # The end of the log is told as an offset without a time, or as no answer.
        return {
            place.partition: None if at is None or at.offset < 0 else at.offset for place, at in found.items()
        }

    def begin(self, spans: Mapping[int, range]) -> None:
        """Read these offsets of these partitions."""
        self._ends = {number: span.stop for number, span in spans.items() if len(span)}
        self._times, self._paused = {}, set()
        places = {number: TopicPartition(self._topic, number) for number in self._ends}
        if not places:
            return
        self._consumer.assign(list(places.values()))
        for number, place in places.items():
            self._consumer.seek(place, spans[number].start)

    @property
    def done(self) -> bool:
        """Whether every partition is at its end."""
        return not self._ends

    @property
    def pending(self) -> Set[int]:
        """The partitions that are not at their end."""
        return self._ends.keys()

    async def chunk(self) -> dict[int, list[Any]]:
        """Return the next records by partition, sometimes none; nothing once `done`.

        Raises:
            KafkaError: reading failed for good.
        """
        if not self._ends:
            return {}
        fetched = await self._consumer.getmany(timeout_ms=_WAIT)
        chunk: dict[int, list[Any]] = {}
        for place, records in fetched.items():
            number, end = place.partition, self._ends.get(place.partition, 0)
            if records[-1].offset >= end:
                records = [record for record in records if record.offset < end]
            if records:
                chunk[number] = records
                self.read += len(records)
                self._times[number] = records[-1].timestamp
        for number, end in list(self._ends.items()):
            # The position also passes over what is no record: markers, and aborted transactions.
            if await self._consumer.position(TopicPartition(self._topic, number)) >= end:
                del self._ends[number]
        self._even_out()
        return chunk

    def _even_out(self) -> None:
        if len(self._ends) < 2:
            ahead = set()
        else:
            slowest = min(self._times.get(number, 0) for number in self._ends)
            ahead = {number for number in self._ends if self._times.get(number, 0) > slowest + _AHEAD}
        finished = {
            place.partition for place in self._consumer.assignment() if place.partition not in self._ends
        }
        wanted = ahead | finished  # a partition that still grows is not read beyond its end
        self._consumer.pause(*(TopicPartition(self._topic, number) for number in wanted - self._paused))
        self._consumer.resume(*(TopicPartition(self._topic, number) for number in self._paused - wanted))
        self._paused = wanted
