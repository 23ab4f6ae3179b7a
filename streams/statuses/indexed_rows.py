"""Rows of a store, all of whose changes go through the index of the native pass.

What the index says is what the store says at that moment: a row is forgotten there before the store changes
it, and noted again when the store has it. What is known of a partition holds for one opening of its store.
While the store is away, and when it is opened anew, nothing is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Protocol

from streams.native.status_index import PartitionStatuses, StatusIndex
from streams.statuses.row import stored_row
from streams.statuses.store_owner import SetAside
from streams.statuses.table import Rows


class OpenedRows(Rows, Protocol):
    """Rows of a store that is opened and closed."""

    def opening(self, partition: int) -> int | None:
        """Return the number of the opening that is in use; None: the partition's rows count as missing."""
        ...


class IndexedRows:
    """Rows in a store, and in the index as far as it has room. Used from one thread."""

    #: Rows that are noted in one step of `fill`: some 3 ms.
    FILL_SIZE = 500

    def __init__(self, rows: OpenedRows, index: StatusIndex) -> None:
        """Keep `index` as `rows` are; every other user of the store has to go through this object, too."""
        self._rows = rows
        self._index = index
        self._known: dict[int, tuple[int, PartitionStatuses]] = {}  # with the number of the opening

    def statuses(self, partition: int) -> PartitionStatuses | None:
        """Return what is known of a partition; None while its rows count as missing. Ask before each use."""
        opening = self._rows.opening(partition)
        if opening is None:
            self._known.pop(partition, None)
            return None
        known = self._known.get(partition)
        if known is None or known[0] != opening:
            known = self._known[partition] = opening, PartitionStatuses(self._index)
        return known[1]

    def opening(self, partition: int) -> int | None:
        """Return the number of the store's opening that is in use; None: its rows are missing."""
        return self._rows.opening(partition)

    async def fill(self, partition: int, rest: float) -> None:
        """Note all rows that a partition has now, some at a time with `rest` seconds between."""
        keys = self._rows.keys(partition)
        while some := list(islice(keys, self.FILL_SIZE)):
            self._note(partition, {key: self._rows.get(partition, key) for key in some})
            await asyncio.sleep(rest)

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Return the raw row of `key`, and note it."""
        raw = self._rows.get(partition, key)
        if raw is not None:  # else the index has none, either
            self._note(partition, {key: raw})
        return raw

    def put(
        self, partition: int, changes: Mapping[bytes, bytes | None], contained: int | None = None
    ) -> None:
        """Apply `changes`, and note them."""
        statuses = self.statuses(partition)
        if statuses is not None:
            statuses.forget(changes.keys())
        self._rows.put(partition, changes, contained)
        self._note(partition, changes)

    def _note(self, partition: int, raw_rows: Mapping[bytes, bytes | None]) -> None:
        statuses = self.statuses(partition)
        if statuses is None:  # the store was not written, or cannot be read
            return
        known: dict[bytes, tuple[bool, float | None]] = {}
        for key, raw in raw_rows.items():
            if (row := stored_row(raw)) is not None:
                known[key] = row.subscribed, row.expires_at
        statuses.put(known)

    def keys(self, partition: int) -> Iterator[bytes]:
        """Walk over the keys of a partition."""
        return self._rows.keys(partition)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Walk over the keys and the raw rows of a partition. They are not noted: they may be old by then."""
        return self._rows.items(partition)

    def away(self, partition: int) -> str | None:
        """Return why the partition's store cannot be used now, or None."""
        return self._rows.away(partition)

    def begin(self, partition: int, known: int | None) -> int | None:
        """Open the store, and return the last offset of the changelog that it contains."""
        return self._rows.begin(partition, known)

    def begin_anew(self, partition: int, reason: SetAside) -> None:
        """Forget what the store contains."""
        self._rows.begin_anew(partition, reason)
