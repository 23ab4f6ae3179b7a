"""Reads one topic: its committed records, from given offsets to given ends, or on and on.

async with TopicReader(topic, connection) as reader:
await reader.begin_at_the_start(await reader.partitions())
async for partition, records in reader.chunks():
...
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Set
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.commands.installation import NotAnswered
from streams.kafka.fetching import hand_over_stand_ins
from streams.kafka.record_batches import read_any_batch
from streams.kafka.unserved import read_unserved
from streams.messages.unreadable import UnreadableRecords

FETCH = 8 << 20  # bytes of a whole answer
FETCH_OF_PARTITION = 1 << 20  # bytes; the broker sends a larger record all the same
_WAIT = 500  # milliseconds; the broker answers earlier when there is something to read
#: A partition whose records are so much later than another's waits for it, in milliseconds.
_AHEAD = 300_000


class RecordId(NamedTuple):
    """Where a record lies in its topic."""

    partition: int
    offset: int


class UnreadablePlace(NamedTuple):
    """Records of a topic that nobody can read, and why."""

    topic: str
    partition: int
    records: UnreadableRecords

    def __str__(self) -> str:
        """The same as a sentence."""
        return f"{self.records.place(self.topic, self.partition)} cannot be read: {self.records.reason}"


def _refuse(place: UnreadablePlace) -> None:
    raise NotAnswered(str(place))


class TopicReader:
    """Hands out the records of one topic, chunk by chunk, until every partition is at its end.

    A partition that is far ahead of the others, by its records' timestamps, is paused: an action and its
    email may be in different partitions, and should be met at about the same time.
    """

    def __init__(
        self,
        topic: str,
        connection: Mapping[str, Any],
        on_unreadable: Callable[[UnreadablePlace], None] = _refuse,
    ) -> None:
        """Describe it; entering it connects.

        Args:
            topic: its name; reading never creates it.
            connection: what every Kafka client is given (``streams.settings.connection.client_options``).
            on_unreadable: is told of each batch that cannot be read, and the reader goes on behind it; by
                default, :meth:`chunk` raises NotAnswered, which says where the batch is.
        """
        self._on_unreadable = on_unreadable
        self._topic = topic
        self._connection = connection
        self._consumer: Any = None
        self._ends: dict[int, int] = {}
        self._timestamps: dict[int, int] = {}
        self._paused: set[int] = set()
        self.records_read = 0

    async def __aenter__(self) -> Self:
        """Connect. Raises KafkaError."""
        read_any_batch()
        self._consumer = AIOKafkaConsumer(
            **self._connection,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # where retention overtakes the reading
            fetch_max_bytes=FETCH,
            max_partition_fetch_bytes=FETCH_OF_PARTITION,
            request_timeout_ms=30_000,
        )
        try:
            await self._consumer.start()
            read_unserved(self._consumer._fetcher)
            hand_over_stand_ins(self._consumer._fetcher)
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def partitions(self) -> list[int]:
        """Return the numbers of the topic's partitions; none where there is no such topic."""
        # All topics are asked for: asked for one, a cluster may make it.
        cluster = await self._consumer._client.fetch_all_metadata()
        return sorted(cluster.partitions_for_topic(self._topic) or ())

    async def first_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return where each partition begins."""
        return _by_number(await self._consumer.beginning_offsets(self._named(partitions)))

    async def stable_ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return where each partition ends for who reads committed records only (its last stable offset)."""
        return _by_number(await self._consumer.end_offsets(self._named(partitions)))

    async def offsets_at(self, partitions: Iterable[int], milliseconds: int) -> dict[int, int | None]:
        """Return each partition's first offset stamped at or after a time; None where there is none."""
        found = await self._consumer.offsets_for_times(dict.fromkeys(self._named(partitions), milliseconds))
        # The end of the log is told as an offset without a time, or as no answer.
        return {
            place.partition: None if at is None or at.offset < 0 else at.offset for place, at in found.items()
        }

    def begin(self, spans: Mapping[int, range]) -> None:
        """Read these offsets of these partitions."""
        self._ends = {number: span.stop for number, span in spans.items() if len(span)}
        self._timestamps, self._paused = {}, set()
        if not self._ends:
            return
        self._consumer.assign(self._named(self._ends))
        for place in self._named(self._ends):
            self._consumer.seek(place, spans[place.partition].start)

    async def begin_at_the_start(self, partitions: Collection[int], since: int | None = None) -> None:
        """Read what is there now: everything, or what is stamped at or after `since` (milliseconds)."""
        ends = await self.stable_ends(partitions)
        first = await self.first_offsets(partitions)
        self.begin(
            await self.within({number: range(first[number], end) for number, end in ends.items()}, since)
        )

    async def within(
        self, spans: Mapping[int, range], since: int | None = None, until: int | None = None
    ) -> dict[int, range]:
        """Return the parts of `spans` that lie between two times, in milliseconds; None: no bound.

        A part begins with the first record that is stamped at or after `since`, and ends before the first one
        that is stamped at or after `until`.
        """
        begin = {} if since is None or not spans else await self.offsets_at(spans, max(0, since))
        end = {} if until is None or not spans else await self.offsets_at(spans, max(0, until))
        found = {}
        for number, span in spans.items():
            at = begin.get(number, span.start)
            start = span.stop if at is None else min(max(span.start, at), span.stop)
            at = end.get(number)
            found[number] = range(start, span.stop if at is None else max(start, min(at, span.stop)))
        return found

    @property
    def done(self) -> bool:
        """Whether every partition is at its end."""
        return not self._ends

    @property
    def unread_partitions(self) -> Set[int]:
        """The partitions that are not at their end."""
        return self._ends.keys()

    async def chunks(self) -> AsyncIterator[tuple[int, list[Any]]]:
        """Give each partition's next records, until all are at their ends. Raises KafkaError."""
        while not self.done:
            for number, records in (await self.chunk()).items():
                yield number, records

    async def first_timestamps(self, spans: Mapping[int, range], patience: float) -> dict[int, int]:
        """Return the timestamp, in milliseconds, of the first record in each span that has one.

        It waits at most `patience` seconds for all of them. It raises what `chunk` raises.
        """
        found: dict[int, int] = {}
        self.begin(spans)
        until = time.monotonic() + patience
        while not self.unread_partitions <= found.keys() and time.monotonic() < until:
            for number, records in (await self.chunk()).items():
                found.setdefault(number, records[0].timestamp)
        return found

    async def chunk(self) -> dict[int, list[Any]]:
        """Return the next records by partition, sometimes none; nothing once `done`.

        Waits half a second at most.

        Raises:
            KafkaError: reading failed for good.
            NotAnswered: a batch cannot be read.
        """
        if not self._ends:
            return {}
        fetched = await self._consumer.getmany(timeout_ms=_WAIT)
        chunk: dict[int, list[Any]] = {}
        for place, records in fetched.items():
            number, end = place.partition, self._ends.get(place.partition, 0)
            if records[-1].offset >= end:
                records = [record for record in records if record.offset < end]
            if UnreadableRecords in map(type, records):
                records = list(self._readable(number, records))
            if records:
                chunk[number] = records
                self.records_read += len(records)
                self._timestamps[number] = records[-1].timestamp
        for number, end in list(self._ends.items()):
            # The position also passes over what is no record: markers, and aborted transactions.
            if await self._consumer.position(TopicPartition(self._topic, number)) >= end:
                del self._ends[number]
        self._even_out()
        return chunk

    def _readable(self, number: int, records: Iterable[Any]) -> Iterator[Any]:
        for record in records:
            if type(record) is UnreadableRecords:
                self._on_unreadable(UnreadablePlace(self._topic, number, record))
            else:
                yield record

    def _even_out(self) -> None:
        ahead = set()
        if len(self._ends) > 1:
            slowest = min(self._timestamps.get(number, 0) for number in self._ends)
            ahead = {number for number in self._ends if self._timestamps.get(number, 0) > slowest + _AHEAD}
        finished = {
            place.partition for place in self._consumer.assignment() if place.partition not in self._ends
        }
        wanted = ahead | finished  # a partition that still grows is not read beyond its end
        self._consumer.pause(*self._named(wanted - self._paused))
        self._consumer.resume(*self._named(self._paused - wanted))
        self._paused = wanted

    def _named(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number) for number in partitions]


async def read_records(
    topic: str, connection: Mapping[str, Any], wanted: Collection[RecordId]
) -> dict[RecordId, Any]:
    """Return these records of `topic`; without those that are not there.

    Raises:
        KafkaError: reading failed.
    """
    wanted = frozenset(wanted)
    spans: dict[int, range] = {}
    for each in sorted(wanted):
        first = spans.get(each.partition, range(each.offset, 0)).start
        spans[each.partition] = range(first, each.offset + 1)
    found: dict[RecordId, Any] = {}
    async with TopicReader(topic, connection) as reader:
        ends = await reader.stable_ends(spans)
        reader.begin(
            {number: range(span.start, min(span.stop, ends[number])) for number, span in spans.items()}
        )
        async for number, records in reader.chunks():
            for record in records:
                if (each := RecordId(number, record.offset)) in wanted:
                    found[each] = record
    return found


def _by_number(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {place.partition: offset for place, offset in offsets.items()}
