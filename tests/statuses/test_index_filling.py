"""The index of statuses is filled from the table, without anybody's asking."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from streams.native.status_index import StatusIndex
from streams.statuses.index_filling import IndexFilling
from streams.statuses.row import Row, encode_row
from streams.statuses.table import MemoryRows
from tests.native.built import library

NOW = 1_790_000_000.0
KEYS = [b"310:%d" % number for number in range(1_200)]


class FakeStore:
    """What Faust's store in memory has."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self._key_partition: dict[bytes, int] = {}


class OpenedRows(MemoryRows):
    """Rows whose store is opened when a test says so."""

    number: int | None = None

    def opening(self, _: int) -> int | None:
        return self.number

    def keys(self, partition: int) -> Iterator[bytes]:
        return iter(()) if self.number is None else super().keys(partition)


pytestmark = pytest.mark.usefixtures("virtual_time")


async def test_all_rows_of_a_partition_come_into_the_index_after_each_opening_of_its_store() -> None:
    """Filled once an opening; after another opening nothing is known, and it is filled again."""
    rows, partitions = OpenedRows(FakeStore()), {0}
    rows.put(0, dict.fromkeys(KEYS, encode_row(Row(True, 0.0))))
    filling = IndexFilling(StatusIndex(library(), 1 << 20), lambda: partitions)
    assert filling.statuses(0) is None
    indexed = filling.indexed(rows)
    task = asyncio.create_task(filling.run())

    def known() -> int:
        statuses = filling.statuses(0)
        return -1 if statuses is None else sum(statuses.subscribed(key, NOW) is True for key in KEYS)

    await asyncio.sleep(5.0)
    assert known() == -1
    for number in (1, 2):
        rows.number = number
        assert known() == 0
        await asyncio.sleep(5.0)
        assert known() == len(KEYS)
    indexed.put(0, {KEYS[0]: None})
    await asyncio.sleep(5.0)
    assert known() == len(KEYS) - 1
    task.cancel()
    await asyncio.wait({task})
