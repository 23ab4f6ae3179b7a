"""The Faust table ``supporter-status``, read and written a partition and a chunk at a time.

Faust's own per-key access needs the current event, costs tens of microseconds and sends each change by
itself. Here reads go straight to the store, and a chunk's changes go to the changelog as one batch, then to
the store: a crash between the two is repaired by Faust's recovery, or by reading the chunk again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from faust.types import TP

from streams.status import Row, decode_row, encode_row, overwrites, subscribed_at

#: A key, and the row that it should have; None forgets it.
Change = tuple[bytes, Row | None]
#: Writes (key, value, headers) rows to a topic's partition, all or raising; returns the last one's offset.
SendMany = Callable[[str, int, Iterable[tuple[bytes | None, bytes | None, list[Any]]]], Awaitable[int | None]]


class Rows(Protocol):
    """Raw rows of a store."""

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Return the raw row of `key`."""
        ...

    def put(self, partition: int, changes: Mapping[bytes, bytes | None]) -> None:
        """Apply `changes`; None forgets a key."""
        ...


class MemoryRows:
    """Rows in Faust's in-memory store."""

    def __init__(self, store: Any) -> None:
        self._rows: dict[bytes, bytes] = store.data
        self._partitions: dict[bytes, int] = store._key_partition

    def get(self, partition: int, key: bytes) -> bytes | None:
        """See :class:`Rows`."""
        return self._rows.get(key) if self._partitions.get(key) == partition else None

    def put(self, partition: int, changes: Mapping[bytes, bytes | None]) -> None:
        """See :class:`Rows`."""
        for key, raw in changes.items():
            if raw is None:
                self._rows.pop(key, None)
                self._partitions.pop(key, None)
            else:
                self._rows[key] = raw
                self._partitions[key] = partition


class RocksRows:
    """Rows in Faust's RocksDB store."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def get(self, partition: int, key: bytes) -> bytes | None:
        """See :class:`Rows`."""
        found: bytes | None = self._store._db_for_partition(partition).get(key)
        return found

    def put(self, partition: int, changes: Mapping[bytes, bytes | None]) -> None:
        """See :class:`Rows`."""
        import rocksdict  # here, since a worker with the memory store needs no RocksDB

        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, raw in changes.items():
            if raw is None:
                batch.delete(key)
            else:
                batch.put(key, raw)
        self._store._db_for_partition(partition).write(batch)


class StatusTable:
    """Who is a subscriber, as far as it is known."""

    def __init__(self, table: Any, send_many: Callable[[], SendMany]) -> None:
        """Wrap a Faust table with raw keys and values; `send_many` gives the started producer's method."""
        self._table = table
        self._send_many = send_many
        self._rows: Rows | None = None
        self._locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def rows(self) -> Rows:
        """The store's rows."""
        if self._rows is None:
            store = self._table.data
            self._rows = RocksRows(store) if hasattr(store, "_db_for_partition") else MemoryRows(store)
        return self._rows

    def subscribed(self, partition: int, key: bytes, now: float) -> bool | None:
        """Return the status of `key` at `now` (seconds since the epoch); None: missing or expired."""
        raw = self.rows.get(partition, key)
        return None if raw is None else subscribed_at(decode_row(raw), now)

    async def apply(self, partition: int, changes: Iterable[Change]) -> int:
        """Make the `changes` that win lasting, in their order; return how many did.

        Raises:
            KafkaError: the changelog was not written, and the store is as before. Applying the same again is
                harmless.
        """
        async with self._locks[partition]:  # changelog and store must agree on the order
            rows = self.rows
            winning: dict[bytes, Row | None] = {}
            for key, row in changes:
                if row is not None:
                    old = winning[key] if key in winning else _decoded(rows.get(partition, key))
                    if not overwrites(row, old):
                        continue
                winning[key] = row
            if not winning:
                return 0
            raw = {key: None if row is None else encode_row(row) for key, row in winning.items()}
            topic = self._table.changelog_topic_name
            offset = await self._send_many()(
                topic, partition, ((key, value, []) for key, value in raw.items())
            )
            assert offset is not None
            rows.put(partition, raw)
            # Recovery starts after what the store contains; the memory store forgets it, and reads all.
            self._table.data.set_persisted_offset(TP(topic, partition), offset)
            return len(winning)


def _decoded(raw: bytes | None) -> Row | None:
    return None if raw is None else decode_row(raw)
