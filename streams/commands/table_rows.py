"""Rows of the table of statuses, read from the topics: the store itself is locked by its worker."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from streams.commands.installation import Described, Installation
from streams.commands.progress_bar import OnProgress
from streams.commands.topic_reader import TopicReader
from streams.messages.keys import partition_of
from streams.statuses.row import Row, decode_row


async def records_by_key(
    installation: Installation,
    described: Described,
    topic: str,
    keys: Collection[bytes],
    on_progress: OnProgress = lambda _read, _all: None,
) -> dict[bytes, list[Any]]:
    """Return the records of a topic that have these keys, oldest first, from the partitions of the keys.

    Raises:
        TopicMissing: it does not exist.
        KafkaError: reading failed.
    """
    described.require(topic)
    found: dict[bytes, list[Any]] = {}
    async with TopicReader(topic, installation.connection) as reader:
        await reader.begin_at_the_start({partition_of(key, described.partitions[topic]) for key in keys})
        async for _, records in reader.chunks():
            on_progress(reader.records_read, 0)
            for record in records:
                if record.key in keys:
                    found.setdefault(record.key, []).append(record)
    return found


def row_in(record: Any | None) -> Row | None:
    """Return the row in a record of the changelog; None: there is none, it is forgotten, or damaged."""
    try:
        return None if record is None or record.value is None else decode_row(record.value)
    except msgspec.DecodeError:
        return None  # as the worker reads it


async def rows_of(
    installation: Installation,
    described: Described,
    keys: Collection[bytes],
    on_progress: OnProgress = lambda _read, _all: None,
) -> dict[bytes, Row]:
    """Return the rows that the table has of these keys, expired ones too; raises as `records_by_key`."""
    changelog = installation.names.changelog
    found = await records_by_key(installation, described, changelog, keys, on_progress)
    rows = {key: row_in(records[-1]) for key, records in found.items()}
    return {key: row for key, row in rows.items() if row is not None}
