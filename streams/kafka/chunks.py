"""What an agent gets from this transport: a fetched chunk of one partition's records at a time.

A stock Faust agent gets one message at a time, at some 200 µs each, and acknowledges it in a ``finally``,
whatever became of it. Here a topic opts in with a :class:`ChunkSchema`, the agent receives lists of
:class:`Chunk` objects, each of another partition, and only `Chunk.settle` lets an offset be committed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import faust
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams.kafka.fetching import Gather

#: Records of a topic's partitions that an agent gets at once: each time it has its own turn of the event
#: loop, which costs more than a handful of records.
TOGETHER = 500


class Chunk:
    """Records of one partition, in offset order, fetched in one generation of the consumer group."""

    __slots__ = ("generation", "next_offset", "partition", "records", "settled", "since", "topic", "tp")

    def __init__(
        self, topic_partition: TP, records: Sequence[Any], generation: int, since: int | None = None
    ) -> None:
        """Wrap `records` of a partition, at least one: see :mod:`streams.kafka.fetching`.

        `since` is the offset up to which the partition had been handed over before; between it and the first
        record the log has nothing to read. None where that is not known: the first one after a rebalance.
        """
        self.since = since
        self.tp = topic_partition
        self.topic: str = topic_partition.topic
        self.partition: int = topic_partition.partition
        self.records: Sequence[Any] = records
        self.generation = generation
        self.next_offset: int = records[-1].offset + 1
        self.settled = False

    def settle(self) -> None:
        """Say that nothing of this chunk needs to be read again."""
        self.settled = True
        self.records = ()  # the commit loop keeps the chunk for a while, not what was in it


class PartitionOwner(Protocol):
    """Keeps the committed offsets of a topic's partitions itself; Faust's commit loop leaves them alone."""

    async def assigned(self, partitions: Iterable[int], generation: int) -> None:
        """The group gave us exactly these partitions of the topic."""
        ...

    async def revoked(self, partitions: Iterable[int]) -> None:
        """The group takes these partitions away."""
        ...

    def accepts(self, partition: int) -> bool:
        """Whether records of this partition should be fetched now."""
        ...

    def interrupted(self, partition: int) -> None:
        """A broker refused a fetch of this partition: its log may be another one."""
        ...

    def is_doubted(self, partition: int) -> bool:
        """Whether what is fetched of this partition now may be from another log."""
        ...


class ChunkSchema(faust.Schema[Any, Any]):
    """Marks a topic whose records go to its agent in chunks, undecoded."""

    def __init__(
        self, max_records: int, owner: PartitionOwner | None = None, gather: Gather | None = None
    ) -> None:
        """Hand over at most `max_records` at a time; with an `owner` the offsets are its business.

        With `gather`, what it makes of a fetch is handed over in the place of the records.
        """
        super().__init__()
        self.max_records = max_records
        self.owner = owner
        self.gather = gather

    def compile(self, app: Any, **_: Any) -> Any:
        """Return the decoder that Faust calls for each delivery."""

        async def decode(message: Any, **_: Any) -> Any:
            chunks, message.value = message.value, None
            return app.create_event(None, chunks, None, message)

        return decode


def schema_of(channels: Iterable[Any]) -> ChunkSchema | None:
    """Return the chunk schema that all `channels` of a topic share, or None: one message at a time."""
    found: ChunkSchema | None = None
    for channel in channels:
        schema = channel.schema
        if not isinstance(schema, ChunkSchema):
            return None
        if found is None or schema.max_records < found.max_records:
            found = schema
    return found


class ChunkSchemas:
    """The chunk schema of each topic that has one. Any thread may use it."""

    def __init__(self, channels_by_topic: Callable[[], Mapping[str, Iterable[Any]]]) -> None:
        """Look among the channels of the topics, as they are when a topic is asked for first."""
        self._channels_by_topic = channels_by_topic
        self._known: dict[str, ChunkSchema | None] = {}

    def of(self, topic: str) -> ChunkSchema | None:
        """Return the chunk schema that all channels of a topic share, or None: one message at a time."""
        try:
            return self._known[topic]
        except KeyError:
            if not (channels := self._channels_by_topic().get(topic)):
                return None  # it may get channels
            schema = self._known[topic] = schema_of(channels)
            return schema

    def forget(self) -> None:
        """Look again: topics may have other channels now."""
        self._known = {}


#: What was fetched of a partition: its schema, and records.
Part = tuple[TP, ChunkSchema, Sequence[Any]]


def in_turns(fetched: Iterable[Part]) -> Iterator[list[Part]]:
    """Give what was fetched in the order in which agents get it: round robin over the partitions.

    Each list is of one topic and has a partition once, with at most as many records as its schema says. All
    of the list together have up to TOGETHER records, unless one alone has more.
    """
    turns = deque((tp, schema, records, 0) for tp, schema, records in fetched)
    together: list[Part] = []
    room = TOGETHER
    while turns:
        tp, schema, records, begin = turns.popleft()
        end = begin + schema.max_records
        if end < len(records):
            turns.append((tp, schema, records, end))
        part = records[begin:end]
        count = sum(getattr(record, "count", 1) for record in part)
        if together and (
            count > room or together[0][0].topic != tp.topic or any(tp == other for other, _, _ in together)
        ):
            yield together
            together, room = [], TOGETHER
        together.append((tp, schema, part))
        room -= count
    if together:
        yield together


def message_of(chunks: list[Chunk]) -> ConsumerMessage:
    """Return what Faust passes on to the agent, in the name of the first of these `chunks`."""
    first = chunks[0]
    last = first.records[-1]
    return ConsumerMessage(
        first.topic,
        first.partition,
        last.offset,
        last.timestamp / 1000.0,
        last.timestamp_type,
        headers=None,
        key=None,
        value=cast(Any, chunks),  # undecoded: what the schema's decoder expects
        checksum=None,
        tp=first.tp,
        generation_id=first.generation,
    )
