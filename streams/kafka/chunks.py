"""What an agent gets from this transport: a fetched chunk of one partition's records at a time.

A stock Faust agent gets one message at a time, at some 200 µs each, and acknowledges it in a ``finally``,
whatever became of it. Here a topic opts in with a :class:`ChunkSchema`, the agent receives :class:`Chunk`
objects, and only `Chunk.settle` lets an offset be committed.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import faust
from faust.types import TP

from streams.kafka.fetching import Gather


class Chunk:
    """Records of one partition, in offset order, fetched in one generation of the consumer group."""

    __slots__ = ("generation", "next_offset", "partition", "records", "settled", "since", "topic")

    def __init__(
        self, topic_partition: TP, records: Sequence[Any], generation: int, since: int | None = None
    ) -> None:
        """Wrap `records` of `place`, at least one: see :mod:`streams.kafka.fetching`.

        `since` is the offset up to which the partition had been handed over before; between it and the first
        record the log has nothing to read. None where that is not known: the first one after a rebalance.
        """
        self.since = since
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
            chunk, message.value = message.value, None
            return app.create_event(None, chunk, None, message)

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
