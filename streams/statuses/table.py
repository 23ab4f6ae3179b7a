"""The Faust table ``supporter-status``, read and written a partition and a chunk at a time.

Faust's own per-key access needs the current event, costs tens of microseconds and sends each change by
itself. Here reads go straight to the store, and a chunk's changes go to the changelog as one batch, then to
the store: a crash between the two is repaired by Faust's recovery, or by reading the chunk again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from streams.statuses.row import Row, encode_row, has_expired, overwrites, stored_row, subscribed_at
from streams.statuses.store_owner import SetAside

#: A key, and the row that it should have; None forgets it.
Change = tuple[bytes, Row | None]
#: Writes (key, value, headers) rows to a topic's partition, all or raising; returns the last one's offset.
SendMany = Callable[[str, int, Iterable[tuple[bytes | None, bytes | None, list[Any]]]], Awaitable[int | None]]


class StoreAway(Exception):
    """A partition's store cannot be used now. The text says why; it comes back by itself."""


class Rows(Protocol):
    """Raw rows of a store. None of its methods raises because of what is on the disk."""

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Return the raw row of `key`."""
        ...

    def put(
        self, partition: int, changes: Mapping[bytes, bytes | None], contained: int | None = None
    ) -> None:
        """Apply `changes`; None forgets a key. Does nothing to a partition that is not ours any more.

        With them, all or nothing, goes `contained`: the changelog is in the store up to and with this offset,
        and recovery starts after it.
        """
        ...

    def keys(self, partition: int) -> Iterator[bytes]:
        """Walk over the keys of a partition as they are now; what changes meanwhile may be missed."""
        ...

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Walk over the keys and the raw rows of a partition, in the same way."""
        ...

    def away(self, partition: int) -> str | None:
        """Return why the partition's store cannot be used now, or None. Its rows then count as missing."""
        ...

    def begin(self, partition: int, known: int | None) -> int | None:
        """Open the store if it is not open, and return the last offset of the changelog that it contains.

        None: it contains nothing, or is away. `known` is what recovery has put into it since the start.
        """
        ...

    def begin_anew(self, partition: int, reason: SetAside) -> None:
        """Forget what the store contains, for this reason."""
        ...


class MemoryRows:
    """Rows in Faust's in-memory store."""

    def __init__(self, store: Any) -> None:
        self._rows: dict[bytes, bytes] = store.data
        self._partitions: dict[bytes, int] = store._key_partition

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Return the raw row of `key`, or None."""
        return self._rows.get(key) if self._partitions.get(key) == partition else None

    def put(
        self,
        partition: int,
        changes: Mapping[bytes, bytes | None],
        contained: int | None = None,  # noqa: ARG002 - port
    ) -> None:
        """Apply `changes`. Nothing lasts: Faust reads the whole changelog at the next start."""
        for key, raw in changes.items():
            if raw is None:
                if self._partitions.get(key) == partition:  # else the row of another partition
                    self._rows.pop(key, None)
                    self._partitions.pop(key, None)
            else:
                self._rows[key] = raw
                self._partitions[key] = partition

    def keys(self, partition: int) -> Iterator[bytes]:
        """Walk over a copy of the partition's keys."""
        return iter([key for key, place in self._partitions.items() if place == partition])

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Walk over a copy of the partition's keys, and the rows that they still have."""
        return ((key, raw) for key in self.keys(partition) if (raw := self.get(partition, key)) is not None)

    def away(self, partition: int) -> str | None:  # noqa: ARG002 - port
        """Return None: memory is always there."""
        return None

    def begin(self, partition: int, known: int | None) -> int | None:  # noqa: ARG002 - port
        """Return what recovery has put here."""
        return known

    def begin_anew(self, partition: int, reason: SetAside) -> None:  # noqa: ARG002 - port
        """Forget the partition's rows."""
        self.put(partition, dict.fromkeys(self.keys(partition)))


def rows_of(table: Any) -> Rows:
    """Return the rows in the store of a Faust table."""
    store = table.data
    return store.rows if hasattr(store, "rows") else MemoryRows(store)


class StatusTable:
    """Who is a subscriber, as far as it is known."""

    def __init__(
        self, table: Any, send_many: Callable[[], SendMany], generation: Callable[[], int] = lambda: 0
    ) -> None:
        """Wrap a Faust table with raw keys and values.

        Args:
            table: the Faust table.
            send_many: gives the started producer's method.
            generation: the consumer group's current generation.
        """
        self._table = table
        self._send_many = send_many
        self._generation = generation
        self._rows: Rows | None = None
        self._locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def rows(self) -> Rows:
        """The store's rows."""
        if self._rows is None:
            self._rows = rows_of(self._table)
        return self._rows

    def subscribed(self, partition: int, key: bytes, now: float) -> bool | None:
        """Return the status of `key` at `now` (seconds since the epoch); None: missing or expired."""
        return subscribed_at(self._row(partition, key), now)

    async def apply(self, partition: int, changes: Iterable[Change]) -> int:
        """Make the `changes` that win lasting, in their order; return how many did.

        Raises:
            KafkaError: the changelog was not written, and the store is as before. Applying the same again is
                harmless.
            StoreAway: the store cannot be used now, so nobody knows which of the changes win.
        """
        async with self._in_use(partition):
            winning: dict[bytes, Row | None] = {}
            applied = 0
            for key, row in changes:
                if row is not None:
                    old = winning[key] if key in winning else self._row(partition, key)
                    if not overwrites(row, old):
                        continue
                winning[key] = row
                applied += 1
            await self._write(partition, winning)
            return applied

    async def sweep(self, partition: int, keys: Iterable[bytes], now: float) -> int:
        """Forget those of `keys` that have expired; return how many.

        Raises:
            KafkaError: the changelog was not written, and nothing is forgotten.
            StoreAway: the store cannot be used now.
        """
        async with self._in_use(partition):
            rows = ((key, self.rows.get(partition, key)) for key in keys)
            expired = {key: None for key, raw in rows if raw is not None and has_expired(raw, now)}
            await self._write(partition, expired)
            return len(expired)

    @property
    def store(self) -> Any:
        """Faust's store of the table."""
        return self._table.data

    def away(self, partition: int) -> str | None:
        """Return why the partition's store cannot be used now, or None."""
        return self.rows.away(partition)

    def lock(self, partition: int) -> asyncio.Lock:
        """Return the lock of a partition: changelog and store must agree on the order of what is written."""
        return self._locks[partition]

    @asynccontextmanager
    async def _in_use(self, partition: int) -> AsyncIterator[None]:
        """Hold the partition's lock. Raises StoreAway."""
        async with self.lock(partition):
            if (reason := self.rows.away(partition)) is not None:
                raise StoreAway(reason)
            yield

    async def _write(self, partition: int, changes: Mapping[bytes, Row | None]) -> None:
        if not changes:
            return
        raw = {key: None if row is None else encode_row(row) for key, row in changes.items()}
        topic = self._table.changelog_topic_name
        rows: list[tuple[bytes | None, bytes | None, list[Any]]] = [(key, raw[key], []) for key in raw]
        generation = self._generation()
        offset = await self._send_many()(topic, partition, rows)
        if generation != self._generation():
            # The partition may have been somebody else's meanwhile: to claim what they wrote before `offset`
            # would lose it for ever. These rows are restored, or else read, asked or swept again.
            return
        self.rows.put(partition, raw, offset)

    def _row(self, partition: int, key: bytes) -> Row | None:
        return stored_row(self.rows.get(partition, key))
