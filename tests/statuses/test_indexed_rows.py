"""The index of statuses beside the store: never stale, whatever happens to a row, a partition or the disk."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.native.status_index import StatusIndex
from streams.statuses.indexed_rows import IndexedRows
from streams.statuses.row import Row, decode_row, encode_row, subscribed_at
from streams.statuses.store_owner import SetAside
from streams.statuses.table import MemoryRows, StatusTable, StoreAway
from tests.native.built import library
from tests.statuses.fake_changelog import FakeChangelog, faust_table

PARTITIONS = (0, 1)
KEYS = [b"310:%d" % number for number in range(6)]

#: A database is opened and closed hundreds of times: that need not wait for a disk.
_IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

partitions = st.sampled_from(PARTITIONS)
keys = st.sampled_from(KEYS)
lifetimes = st.none() | st.floats(-2.0, 30.0)


class Model(RuleBasedStateMachine):
    """A table on a real RocksDB store, all of whose users go through the index."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=_IN_MEMORY)
        self.loop = asyncio.new_event_loop()
        self.now = 1_790_000_000.0
        self.changelog = FakeChangelog()
        self.run(self._make())

    async def _make(self) -> None:
        self.faust_table = faust_table("rocksdb", Path(self.folder.name), *PARTITIONS)
        self.store = self.faust_table.data
        self.store_rows = self.store.rows
        self.indexed = self.store.rows = IndexedRows(self.store_rows, StatusIndex(library(), 1 << 16))
        self.table = StatusTable(self.faust_table, lambda: self.changelog.send_many)

    def run(self, task: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(task)

    def teardown(self) -> None:
        for database in [*self.store._dbs.values(), *self.store._coming_back.values()]:
            database.close()
        for thread in threading.enumerate():
            if thread.name == "close-store":  # it still writes into the folder
                thread.join()
        self.loop.close()
        self.folder.cleanup()

    def _row(self, subscribed: bool, lifetime: float | None) -> Row:
        return Row(subscribed, self.now, None if lifetime is None else self.now + lifetime)

    # -- what happens to rows -------------------------------------------------------------------------------

    @rule(
        partition=partitions,
        rows=st.lists(st.tuples(keys, st.booleans(), lifetimes, st.booleans()), min_size=1, max_size=6),
        trouble=st.booleans(),
    )
    def rows_are_applied(
        self, partition: int, rows: list[tuple[bytes, bool, float | None, bool]], trouble: bool
    ) -> None:
        """Of the CRM, of lookups, and tombstones."""
        changes = [(key, None if gone else self._row(yes, life)) for key, yes, life, gone in rows]
        if trouble:
            self.changelog.trouble = [KafkaConnectionError()]
        with contextlib.suppress(StoreAway, KafkaConnectionError):
            self.run(self.table.apply(partition, changes))
        self.changelog.trouble.clear()

    @rule(partition=partitions)
    def expired_rows_are_swept(self, partition: int) -> None:
        with contextlib.suppress(StoreAway):
            self.run(self.table.sweep(partition, KEYS, self.now))

    @rule(partition=partitions, key=keys, raw=st.sampled_from([b"", b"{}", encode_row(Row(True, 1.0))]))
    def recovery_writes_a_row(self, partition: int, key: bytes, raw: bytes) -> None:
        """Another worker's, perhaps damaged."""
        self.indexed.put(partition, {key: raw}, 7)

    @rule(seconds=st.floats(0.0, 20.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(partition=partitions)
    def all_rows_are_noted(self, partition: int) -> None:
        self.run(self.indexed.fill(partition, 0.0))

    @rule(partition=partitions, key=keys)
    def a_row_is_read(self, partition: int, key: bytes) -> None:
        self.table.subscribed(partition, key, self.now)

    # -- what happens to stores -----------------------------------------------------------------------------

    @rule(partition=partitions)
    def the_disk_fails(self, partition: int) -> None:
        self.store.failed(partition, OSError("Input/output error"))

    @rule(partition=partitions)
    def a_store_is_damaged(self, partition: int) -> None:
        self.store.failed(partition, Exception("Corruption"))

    @rule(
        partition=partitions,
        rows=st.lists(st.tuples(keys, st.none() | st.booleans()), max_size=4),
    )
    def a_store_comes_back(self, partition: int, rows: list[tuple[bytes, bool | None]]) -> None:
        """With rows that were written past the index."""
        if self.store.away.get(partition) is None:
            return
        raw = {key: None if yes is None else encode_row(Row(yes, self.now)) for key, yes in rows}
        try:
            self.store.begin_return(partition)
            self.store.write_returning(partition, raw, 9)
        except StoreAway:
            return
        self.store.end_return(partition)

    @rule(partition=partitions)
    def a_store_is_begun_anew(self, partition: int) -> None:
        self.indexed.begin_anew(partition, SetAside.UNREADABLE)

    @rule(
        partition=partitions,
        rows=st.lists(st.tuples(keys, st.none() | st.booleans()), max_size=4),
    )
    def a_partition_leaves_and_comes_again(
        self, partition: int, rows: list[tuple[bytes, bool | None]]
    ) -> None:
        """Meanwhile another worker changed rows, and recovery put them into the store before it was ours."""
        self.store.revoke_partitions(
            self.faust_table, {TP(topic, partition) for topic in self.faust_table.changelog_topic.topics}
        )
        self.nothing_is_stale()
        gc.collect()
        if self.indexed.begin(partition, None) is None and self.store.away.get(partition):
            return
        raw = {key: None if yes is None else encode_row(Row(yes, self.now)) for key, yes in rows}
        self.store_rows.put(partition, raw, 11)

    @invariant()
    def nothing_is_stale(self) -> None:
        """What the index says of any key is what the store says now."""
        for partition in PARTITIONS:
            statuses = self.indexed.statuses(partition)
            for key in KEYS if statuses is not None else ():
                assert statuses is not None
                known = statuses.subscribed(key, self.now)
                if known is not None:
                    assert known is self._in_store(partition, key)

    def _in_store(self, partition: int, key: bytes) -> bool | None:
        raw = self.store_rows.get(partition, key)
        try:
            return None if raw is None else subscribed_at(decode_row(raw), self.now)
        except msgspec.DecodeError:
            return None


Model.TestCase.settings = settings(max_examples=15, stateful_step_count=25)
TestModel = Model.TestCase


@pytest.fixture
async def indexed(tmp_path: Path) -> IndexedRows:
    store = faust_table("rocksdb", tmp_path, 0).data
    store.rows = IndexedRows(store.rows, StatusIndex(library(), 1 << 20))
    return store.rows  # type: ignore[no-any-return]  # Faust's store


def known_of(indexed: IndexedRows, key: bytes) -> bool | None:
    statuses = indexed.statuses(0)
    assert statuses is not None
    return statuses.subscribed(key, 5.0)


async def test_what_is_written_or_read_is_known(indexed: IndexedRows) -> None:
    """A row is in the index as soon as the store has it, and again as soon as somebody asks for it."""
    indexed.put(0, {b"a": encode_row(Row(True, 1.0)), b"b": encode_row(Row(False, 1.0, 100.0))})
    assert (known_of(indexed, b"a"), known_of(indexed, b"b"), known_of(indexed, b"c")) == (True, False, None)
    statuses = indexed.statuses(0)
    assert statuses is not None
    statuses.forget_all()
    indexed.get(0, b"a")
    assert (known_of(indexed, b"a"), known_of(indexed, b"b")) == (True, None)


class FailingRows(MemoryRows):
    """Rows of a store that is open, and whose writes end half-way."""

    def opening(self, partition: int) -> int:
        return 1

    def put(self, partition: int, changes: Any, contained: int | None = None) -> None:
        super().put(partition, changes, contained)
        if contained == -1:
            raise RuntimeError("half-way")


def test_a_write_that_ends_half_way_leaves_no_row_of_its_own_known() -> None:
    """Nobody knows what the store has of such a write: its rows count as missing, until they are read."""
    indexed = IndexedRows(
        FailingRows(SimpleNamespace(data={}, _key_partition={})), StatusIndex(library(), 1 << 16)
    )
    indexed.put(0, {b"a": encode_row(Row(True, 1.0)), b"b": encode_row(Row(True, 1.0))})
    with pytest.raises(RuntimeError):
        indexed.put(0, {b"a": encode_row(Row(False, 2.0))}, -1)
    assert (known_of(indexed, b"a"), known_of(indexed, b"b")) == (None, True)
    indexed.get(0, b"a")
    assert known_of(indexed, b"a") is False


async def test_the_rows_of_a_store_are_noted_in_the_background(indexed: IndexedRows) -> None:
    """After a warm start the index is empty; filling it leaves the event loop its turns."""
    indexed.put(0, {b"%d" % number: encode_row(Row(number % 2 == 0, 1.0)) for number in range(2_000)}, 3)
    statuses = indexed.statuses(0)
    assert statuses is not None
    statuses.forget_all()
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    await indexed.fill(0, 0.0)
    counting.cancel()
    assert turns >= 4
    assert all(known_of(indexed, b"%d" % number) is (number % 2 == 0) for number in range(2_000))
