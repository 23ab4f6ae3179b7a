"""What the table has of one supporter, and what the CRM said last, both read from their topics."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from streams.actions.decision import decide
from streams.commands.installation import Installation, describe, group_offsets
from streams.commands.progress_bar import OnProgress
from streams.commands.table_rows import records_by_key, row_in
from streams.commands.topic_reader import RecordId
from streams.delivery.timestamps import latest_true
from streams.messages.decode import Reason, Undecodable, Variant
from streams.statuses.row import Row, overwrites, row_of, subscribed_at


class Said(NamedTuple):
    """What the records of the status topic come to, in their order."""

    place: RecordId  # of the last one
    row: Row | None  # None: it is forgotten, or none of them can be read
    is_forgotten: bool  # the last one says so
    refused: int  # became dead letters
    is_ingested: bool  # the workers have read the last one


class Standing(NamedTuple):
    """One supporter as the workers see it at `now`, in seconds since the epoch."""

    now: float
    row: Row | None  # in force, or expired; None: the table has none
    place: RecordId | None  # of that row in the changelog
    said: Said | None  # None: the status topic has no record of it

    @property
    def letter(self) -> tuple[Variant, Reason] | None:
        """The letter that the table decides; None: a lookup decides, or, without one, it has two buttons."""
        subscribed = subscribed_at(self.row, self.now)
        return None if subscribed is None else decide(subscribed, None)


async def standing(
    installation: Installation, key: bytes, on_progress: OnProgress = lambda _read, _all: None
) -> Standing:
    """Read what is there under a key.

    Raises:
        TopicMissing: a topic does not exist.
        KafkaError: reading failed.
    """
    names = installation.names
    described = await describe(installation)
    rows = await records_by_key(installation, described, names.changelog, [key], on_progress)
    last = rows[key][-1] if key in rows else None
    row = row_in(last)
    statuses = (await records_by_key(installation, described, names.statuses, [key], on_progress)).get(key)
    said = None
    if statuses:
        where = TopicPartition(names.statuses, statuses[-1].partition)
        async with group_offsets(installation) as offsets:
            committed = (await offsets.committed(where)).offset
        said = said_in(statuses, committed, time.time())
    place = None if row is None or last is None else RecordId(last.partition, last.offset)
    return Standing(time.time(), row, place, said)


def said_in(records: Iterable[Any], committed: int | None, now: float) -> Said:
    """Return what records of one key come to, as the worker reads them.

    Args:
        records: of the status topic, at least one, oldest first.
        committed: the group's offset in their partition; None: it has read nothing.
        now: seconds since the epoch.
    """
    row, refused, is_forgotten = None, 0, False
    for record in records:
        try:
            new = row_of(record.key, record.value, latest_true(record.timestamp, now))
        except Undecodable:
            refused += 1
            continue
        is_forgotten = new is None
        if new is None or overwrites(new, row):
            row = new
    place = RecordId(record.partition, record.offset)
    return Said(place, row, is_forgotten, refused, committed is not None and place.offset < committed)
