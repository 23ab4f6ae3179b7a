"""The RocksDB store: its options, and what it does about damage, strangers and a disk that is full."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import faust
import pytest
import rocksdict
from faust.stores import STORES

from streams.statuses.store_owner import FILE, SetAside, StoreOwner
from tests.statuses.fake_changelog import faust_table

CACHE = 3 << 20


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STORES.aliases, "rocksdb", "streams.statuses.rocksdb:Store")


def store(folder: Path) -> Any:
    app = faust.App("test", env={}, broker="kafka://127.0.0.1:1", store="rocksdb://", datadir=str(folder))
    options = {"driver": "rocksdict", "block_cache_size": CACHE, "bloom_filter_size": 10}
    table = app.Table("statuses", key_type=bytes, value_type=bytes, options=options)
    app.finalize()
    return table.data


def newest_options(folder: Path) -> str:
    """The options of a database as RocksDB has written them down last."""
    return max(folder.rglob("OPTIONS-*"), key=lambda path: int(path.name.rpartition("-")[2])).read_text()


@pytest.mark.usefixtures("ours")
async def test_options_hold_after_a_restart(tmp_path: Path) -> None:
    """Block cache and Bloom filter are the same when the database is opened again, and the rows are there."""
    for _ in range(3):
        db = store(tmp_path)._db_for_partition(0)
        db.put(b"a", b"1")
        db.flush()
        assert db.property_value("rocksdb.block-cache-capacity") == str(CACHE)
        assert db.get(b"a") == b"1"
        del db
        gc.collect()
        assert "filter_policy=bloomfilter" in newest_options(tmp_path)


# -- a store that is damaged, or not ours ------------------------------------------------------------------

OURS = StoreOwner("group", "changelog", "cluster", "5a")


class Told:
    """What a store reports."""

    def __init__(self) -> None:
        self.reasons: list[str] = []


@pytest.fixture
def told() -> Told:
    return Told()


def opened(folder: Path, told: Told, owner: StoreOwner | None = OURS) -> Any:
    """A store with partitions 0 and 1 open."""
    return faust_table("rocksdb", folder, 0, 1, owner=lambda: owner, on_set_aside=told.reasons.append).data


def filled(folder: Path, told: Told, rows: int = 2_000) -> Any:
    """A store whose rows are on the disk, and which contains the changelog up to and with offset 41."""
    made = opened(folder, told)
    changes: dict[bytes, bytes | None] = {b"%d" % number: b"row of %d" % number for number in range(rows)}
    for partition in (0, 1):
        made.rows.put(partition, changes, 41)
        made._dbs[partition].flush()
    assert made.contained(0) == 41
    return made


def closed(made: Any) -> None:
    for partition in list(made._dbs):
        made._dbs.pop(partition).close()


def spoil_blocks(folder: Path) -> None:
    """Overwrite four bytes in each 4 KiB of the table files, but for the last block, which tells the rest."""
    for path in folder.glob("*.sst"):
        size = path.stat().st_size
        with path.open("r+b") as file:
            for at in range(100, size - 6_000, 4096):
                file.seek(at)
                file.write(b"\x00\xff\x00\xff")


def asides(made: Any, partition: int = 0) -> list[Path]:
    path = made.partition_path(partition)
    return sorted(path.parent.glob(f"{path.name}.set-aside-*"))


async def test_a_row_that_cannot_be_read_counts_as_missing(
    tmp_path: Path, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """The damaged store is set aside alone; the other partition keeps its rows, and nothing raises."""
    made = filled(tmp_path, told)
    closed(made)
    spoil_blocks(made.partition_path(0))
    made = opened(tmp_path, told)
    assert [made.rows.get(0, b"%d" % number) for number in range(0, 2_000, 50)].count(None) > 20
    assert made.rows.away(0) is not None
    assert made.rows.get(1, b"7") == b"row of 7"
    assert made.rows.away(1) is None
    assert told.reasons == ["damaged"]
    assert len(asides(made)) == 1
    (record,) = [each for each in caplog.records if getattr(each, "event", "") == "store_set_aside"]
    assert str(made.partition_path(0)) in record.getMessage()
    assert "damaged" in record.getMessage()
    made.rows.put(0, {b"1": b"x"}, 50)  # does nothing, and harms nobody
    assert list(made.rows.keys(0)) == []


@pytest.mark.parametrize("file", ["CURRENT", "MANIFEST-*", "*.sst"])
async def test_a_truncated_file_sets_the_store_aside_at_the_opening(
    tmp_path: Path, told: Told, file: str
) -> None:
    """What RocksDB cannot open is renamed, and a new store contains nothing: all is restored."""
    made = filled(tmp_path, told)
    closed(made)
    for path in made.partition_path(0).glob(file):
        path.write_bytes(b"")
    made = opened(tmp_path, told)
    assert told.reasons == ["damaged"]
    assert made.contained(0) is None
    assert made.contained(1) == 41
    assert made.rows.away(0) is None


@pytest.mark.parametrize("version", ["OPTIONS", "no number"])
async def test_a_store_of_another_version_is_set_aside(tmp_path: Path, told: Told, version: str) -> None:
    """Files of a column family that we do not know, an offset that is no number: neither ends the worker."""
    made = filled(tmp_path, told)
    if version == "no number":
        made._dbs[0].put(made.offset_key, b"cs9:41")
        closed(made)
    else:
        closed(made)
        path = str(made.partition_path(0))
        with_family = rocksdict.Rdict(path, rocksdict.Options(raw_mode=True))
        with_family.create_column_family("newer", rocksdict.Options(raw_mode=True))
        with_family.close()
    made = opened(tmp_path, told)
    assert told.reasons == ["damaged"]
    assert made.contained(0) is None


@pytest.mark.parametrize("other", ["group", "changelog", "cluster", "changelog_id"])
async def test_a_store_that_was_made_for_another_is_set_aside(tmp_path: Path, told: Told, other: str) -> None:
    """The rows of another group, topic or cluster, or of a topic made anew, choose no letter."""
    closed(filled(tmp_path, told))
    made = opened(tmp_path, told, OURS._replace(**{other: "another"}))
    assert told.reasons == ["foreign", "foreign"]
    assert made.rows.get(0, b"7") is None
    closed(made)
    made = opened(tmp_path, told, OURS._replace(**{other: "another"}))
    assert len(told.reasons) == 2


async def test_a_store_without_a_mark_is_restored(tmp_path: Path, told: Told) -> None:
    """Earlier versions wrote none: nothing tells whose it is, so nothing of it is believed."""
    made = filled(tmp_path, told)
    closed(made)
    (made.partition_path(0) / FILE).unlink()
    (made.partition_path(1) / FILE).write_text("{")
    made = opened(tmp_path, told)
    assert told.reasons == ["unmarked", "unmarked"]
    assert made.contained(0) is None


async def test_only_the_last_store_that_was_set_aside_is_kept(tmp_path: Path, told: Told) -> None:
    """Damage that comes again and again does not fill the disk."""
    made = filled(tmp_path, told)
    for _ in range(3):
        made.set_aside(0, SetAside.DAMAGED)
        assert made.open(0)
    assert len(asides(made)) == 1
    assert len(told.reasons) == 3


class SlowToClose:
    """A database that is long in closing, as RocksDB is where the disk is full."""

    def __init__(self) -> None:
        self.may_close, self.is_closed = threading.Event(), threading.Event()

    def write(self, _: Any) -> None:
        raise Exception("IO error: No space left on device: While appending to file: /x/000123.log")

    def close(self) -> None:
        self.may_close.wait(5.0)
        self.is_closed.set()


async def test_nobody_waits_until_stores_on_a_full_disk_are_closed(tmp_path: Path, told: Told) -> None:
    """RocksDB takes a second for each; meanwhile emails leave, and no transaction runs into its time-out."""
    made = filled(tmp_path, told)
    closed(made)
    slow = made._dbs[0], made._dbs[1] = SlowToClose(), SlowToClose()
    made.rows.put(0, {b"1": b"2"}, 42)
    assert not any(each.is_closed.is_set() for each in slow)
    assert set(made.away.values()) == {"its disk is full (no space left)"}
    for each in slow:
        each.may_close.set()
        assert each.is_closed.wait(5.0)


async def test_a_store_that_cannot_be_opened_now_is_away_and_not_set_aside(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rights or a full disk are no damage: nothing is renamed, and the reason is told once."""
    made = filled(tmp_path, told)
    closed(made)
    made = faust_table("rocksdb", tmp_path, owner=lambda: OURS, on_set_aside=told.reasons.append).data

    def refuse(*_: Any, **__: Any) -> Any:
        raise Exception("IO error: No space left on device: While appending to file: /x/000123.log")

    with monkeypatch.context() as full:
        full.setattr(rocksdict, "Rdict", refuse)
        assert not made.open(0)
        assert "no space left" in made.rows.away(0)
        assert made.contained(0) is None
    assert told.reasons == []
    assert made.open(0)
    assert made.rows.away(0) is None
    assert made.rows.get(0, b"7") == b"row of 7"
