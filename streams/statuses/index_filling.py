"""Fills the native pass's index of statuses while the worker works: what it lacks is asked of the table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from streams.native.status_index import PartitionStatuses, StatusIndex
from streams.statuses.indexed_rows import IndexedRows, OpenedRows


class IndexFilling:
    """Makes the rows of a store indexed ones, and fills the index from them. Used from one thread."""

    #: Seconds between two looks at which partitions there are, and between two steps of one filling.
    LOOK_EVERY, REST = 1.0, 0.02

    def __init__(self, index: StatusIndex, partitions: Callable[[], Iterable[int]]) -> None:
        """Fill `index` with the rows of `partitions` that lanes have at the moment."""
        self._index = index
        self._partitions = partitions
        self._rows: IndexedRows | None = None
        self._filled: dict[int, int] = {}  # by partition: in which opening of its store

    def indexed(self, rows: OpenedRows) -> IndexedRows:
        """Return the rows that everybody has to use in the place of the store's own."""
        self._rows = IndexedRows(rows, self._index)
        return self._rows

    def statuses(self, partition: int) -> PartitionStatuses | None:
        """Return what is known of a partition now; None while its rows count as missing."""
        return None if self._rows is None else self._rows.statuses(partition)

    async def run(self) -> None:
        """Fill, for ever, whenever a partition's store was opened."""
        while True:
            if self._rows is not None:
                for partition in sorted(self._partitions()):
                    await self._fill(self._rows, partition)
            await asyncio.sleep(self.LOOK_EVERY)

    async def _fill(self, rows: IndexedRows, partition: int) -> None:
        opening = rows.opening(partition)
        if opening is not None and self._filled.get(partition) != opening:
            self._filled[partition] = opening
            await rows.fill(partition, self.REST)
