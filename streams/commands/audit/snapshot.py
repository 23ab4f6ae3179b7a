"""What is settled, and where every topic ends: taken once, in the order that makes the count sound.

1. Where the actions end. 2. What the group has committed for them. 3. What it has committed for re-keyed
actions. 4. Where the other topics end. An action settles in the transaction that writes its email (or dead
letter, or moves it to the re-keyed topic), so what is settled in 2 has its email below the end in 4. A reader
of committed records may not see so far yet: the end markers of a transaction arrive a moment after its
commit, and an open transaction holds everything after it back.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from aiokafka import TopicPartition

from streams.commands.installation import Installation, describe, group_offsets, starting_positions
from streams.commands.topic_reader import TopicReader, UnreadablePlace
from streams.delivery.commit_metadata import Run, UnreadableMetadata, decode
from streams.delivery.epochs import Epochs
from streams.delivery.offsets import Offsets
from streams.delivery.transaction import Position
from streams.kafka.topics import marks_topic

_POLL = 0.2  # seconds
#: Longer than a transaction may stay open, it is not worth waiting for its end.
_PATIENCE = 5.0  # seconds


class Settled:
    """Which offsets of one partition are settled."""

    def __init__(self, position: Position) -> None:
        """Read a committed position; metadata that cannot be read is not trusted, as the worker does."""
        self.position = position
        self.committed = position.offset
        runs: Sequence[Run] = ()
        if position.offset is not None:
            try:
                runs = decode(position.offset, position.metadata)
            except UnreadableMetadata:
                runs = ()
        self._firsts = [first for first, _ in runs]
        self._lasts = [last for _, last in runs]

    def __contains__(self, offset: int) -> bool:
        """Whether `offset` is settled."""
        if self.committed is None:
            return False
        if offset < self.committed:
            return True
        run = bisect_right(self._firsts, offset) - 1
        return run >= 0 and offset <= self._lasts[run]


@dataclass(frozen=True, slots=True)
class Log:
    """One topic at the time of the snapshot."""

    first: Mapping[int, int]
    end: Mapping[int, int]  # how far a reader of committed records sees
    held_back: Mapping[int, int]  # records (and markers) behind an open transaction that did not end in time

    @property
    def spans(self) -> dict[int, range]:
        """Everything that can be read."""
        return {number: range(self.first[number], end) for number, end in self.end.items()}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where every topic ends, and what is settled."""

    actions: Log
    settled: Mapping[int, Settled]
    epochs: Mapping[int, Epochs]  # of the actions, by partition
    settled_rekeyed: Mapping[int, Settled]
    rekeyed: Log
    emails: Log
    dead_letters: Log
    marks: Log  # of letters; empty where no worker has kept any
    marks_since: int  # milliseconds: marks from then on are kept; 0: all are
    emails_compacted: bool  # then the topic does not keep every email


class Taken(NamedTuple):
    """A snapshot, and what its topics are read by."""

    snapshot: Snapshot
    readers: Mapping[str, TopicReader]  # by topic
    unreadable: Sequence[UnreadablePlace]  # what the readers have passed over so far


@asynccontextmanager
async def taken(installation: Installation, partitions: Collection[int] = ()) -> AsyncIterator[Taken]:
    """Take a snapshot; the readers of its topics are open until the end.

    Args:
        installation: whose topics and group.
        partitions: of the actions, which must exist.

    Raises:
        TopicMissing: one of actions, emails or dead letters does not exist.
        PartitionMissing: one of `partitions` does not exist.
        KafkaError: the cluster cannot be asked.
    """
    names = installation.names
    topics = (names.actions, names.emails, names.dead_letters, names.rekeyed, marks_topic(installation.group))
    unreadable: list[UnreadablePlace] = []
    readers = {name: TopicReader(name, installation.connection, unreadable.append) for name in topics}
    async with AsyncExitStack() as stack:
        offsets = await stack.enter_async_context(group_offsets(installation))
        for reader in readers.values():
            await stack.enter_async_context(reader)
        yield Taken(await _take(installation, readers, partitions, offsets), readers, unreadable)


async def _take(
    installation: Installation,
    readers: Mapping[str, TopicReader],
    partitions: Collection[int],
    offsets: Offsets,
) -> Snapshot:
    """Look at every topic and at the group, in the order that the module gives.

    The `readers`, by topic, are only asked where it ends.
    """
    names = installation.names
    described = await describe(installation)
    described.require(names.actions, names.emails, names.dead_letters)
    described.require_partitions(names.actions, partitions)
    counts = described.partitions
    patience = installation.transaction_timeout + _PATIENCE

    def places(name: str) -> list[TopicPartition]:
        return [TopicPartition(name, number) for number in range(counts.get(name, 0))]

    async def settled(name: str) -> dict[int, Settled]:
        found = await offsets.all_committed(places(name)) if name in counts else {}
        return {place.partition: Settled(position) for place, position in found.items()}

    async def log(name: str, wait: float) -> Log:
        if name not in counts:
            return Log({}, {}, {})
        extents = await offsets.extents(places(name))
        first = {place.partition: extent.first for place, extent in extents.items()}
        ends = {place.partition: extent.end for place, extent in extents.items()}
        until = time.monotonic() + wait
        while True:
            stable = await readers[name].stable_ends(list(ends))
            behind = {number: end - stable[number] for number, end in ends.items() if stable[number] < end}
            if not behind or time.monotonic() >= until:
                return Log(first, {number: min(end, stable[number]) for number, end in ends.items()}, behind)
            await asyncio.sleep(_POLL)

    # An action behind an open transaction of its producer is nobody's yet: no waiting.
    actions = await log(names.actions, 0.0)
    of_actions = await settled(names.actions)
    starting = starting_positions(installation, offsets)
    marks_name = marks_topic(installation.group)
    kept = int(described.config(marks_name, "retention.ms", "-1"))
    return Snapshot(
        actions=actions,
        settled=of_actions,
        epochs={
            number: await starting.epochs(TopicPartition(names.actions, number), each.position)
            for number, each in of_actions.items()
        },
        settled_rekeyed=await settled(names.rekeyed),
        rekeyed=await log(names.rekeyed, patience),
        emails=await log(names.emails, patience),
        dead_letters=await log(names.dead_letters, patience),
        marks=(marks := await log(marks_name, patience)),
        marks_since=int(time.time() * 1000) - kept if kept >= 0 and any(marks.first.values()) else 0,
        emails_compacted="compact" in described.config(names.emails, "cleanup.policy", "delete"),
    )
