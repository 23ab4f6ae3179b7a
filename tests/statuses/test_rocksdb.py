"""The RocksDB store's options."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import faust
import pytest
from faust.stores import STORES

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
