"""What lies on the dead letters topic."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from streams.actions.dead_letter import read_dead_letter_headers
from streams.commands.installation import Described, Installation, describe
from streams.commands.progress_bar import OnProgress
from streams.commands.topic_reader import RecordId, TopicReader, read_records


class DeadLetter(NamedTuple):
    """A dead letter without its content."""

    id: RecordId
    topic: str  # where it comes from; "" if it does not say
    source: RecordId | None
    error_class: str
    json_path: str
    timestamp: int  # milliseconds since the epoch
    size: int  # bytes of its value
    shortened: bool  # its topic had no room for all of it
    epoch: int = 0  # which one of its partition's logs `source` is of
    last_offset: int | None = None  # of the batch that it stands for; None: it is one record's

    def is_of(self, place: RecordId, epoch: int) -> bool:
        """Whether it comes from this place, or from a batch with it."""
        if self.source is None or (self.source.partition, self.epoch) != (place.partition, epoch):
            return False
        last = self.source.offset if self.last_offset is None else self.last_offset
        return self.source.offset <= place.offset <= last


def letter_of(record: Any) -> DeadLetter:
    """Describe a record of the dead letters topic."""
    origin = read_dead_letter_headers(record.headers)
    partition, offset = origin.partition, origin.offset
    return DeadLetter(
        RecordId(record.partition, record.offset),
        origin.topic,
        None if partition is None or offset is None else RecordId(partition, offset),
        origin.error_class,
        origin.json_path,
        record.timestamp,
        len(record.value or b""),
        origin.shortened,
        origin.epoch,
        origin.last_offset,
    )


async def records_of(
    installation: Installation,
    topic: str,
    described: Described,
    since: int | None = None,
    on_progress: OnProgress = lambda _read, _all: None,
) -> AsyncIterator[Any]:
    """Give the committed records of a topic; of those stamped at or after `since` (milliseconds), if given.

    Raises:
        TopicMissing: it does not exist.
        KafkaError: reading failed.
    """
    described.require(topic)
    async with TopicReader(topic, installation.connection) as reader:
        await reader.begin_at_the_start(range(described.partitions[topic]), since)
        async for _, records in reader.chunks():
            on_progress(reader.records_read, 0)
            for record in records:
                yield record


async def letters(
    installation: Installation,
    on_progress: OnProgress = lambda _read, _all: None,
    since: int | None = None,
) -> list[DeadLetter]:
    """Return what is on the dead letters topic, in the order of time.

    Args:
        installation: whose topic.
        on_progress: is told how many records have been read.
        since: milliseconds since the epoch; earlier letters are left out. None: all.

    Raises:
        TopicMissing: the topic does not exist.
        KafkaError: reading failed.
    """
    described = await describe(installation)
    topic = installation.names.dead_letters
    records = records_of(installation, topic, described, since, on_progress)
    found = [letter_of(record) async for record in records]
    return sorted(found, key=lambda letter: (letter.timestamp, letter.id))


async def show(installation: Installation, place: RecordId) -> Any | None:
    """Return the record in a place of the dead letters topic, or None; raises TopicMissing or KafkaError."""
    topic = installation.names.dead_letters
    described = await describe(installation)
    described.require(topic)
    if place.partition >= described.partitions[topic]:
        return None
    return (await read_records(topic, installation.connection, [place])).get(place)
