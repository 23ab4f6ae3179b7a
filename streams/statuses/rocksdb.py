"""Faust's RocksDB store, which is a copy of the changelog: what is wrong with it never stops a letter.

Each partition has a database in a folder of its own. One that is damaged, or that belongs to somebody
else, is set aside (its folder is renamed) and restored from the changelog. One that cannot be used now (the
disk is full, say) is away: its rows count as missing, and :mod:`streams.statuses.repair` brings it back.

rocksdict takes the options that it is given for new databases only. One that it opens again has those of
its last run as RocksDB wrote them down: without the Bloom filter, and with a block cache of 8 MiB whatever is
set. After a restart, a question for a row that is not there cost 10 µs instead of 1, for one that is there 8
instead of 3 (250,000 rows in a partition). Options by column family are taken in every case.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import rocksdict
from faust.stores import STORES, rocksdb
from faust.types import TP

from streams.settings.table import Settings
from streams.statuses.indexed_rows import OpenedRows
from streams.statuses.rocks_rows import RocksRows, write_rows
from streams.statuses.store_owner import SetAside, StoreOwner, belongs_to, write_owner
from streams.statuses.store_trouble import AWAY, LOCKED, RESTORED, WHY, WRITE_BUFFER, is_passing, reason_of
from streams.statuses.table import Rows, StoreAway

log = logging.getLogger(__name__)


def table_options(
    settings: Settings,
    *,
    owner: Callable[[], StoreOwner | None],
    on_set_aside: Callable[[str], None],
    indexed: Callable[[OpenedRows], Rows] = lambda rows: rows,
) -> dict[str, Any]:
    """Return the options of the Faust table, and make Faust's ``rocksdb://`` name the store below.

    Args:
        settings: of the worker.
        owner: for whom stores are made here; None: not known yet.
        on_set_aside: is told the reason (a :class:`SetAside`) whenever a store is set aside.
        indexed: gives the rows that all users of a store use, made of the store's own.
    """
    if settings.store != "rocksdb":
        return {}
    STORES.aliases["rocksdb"] = f"{__name__}:Store"
    return {
        "driver": "rocksdict",
        "block_cache_size": settings.store_block_cache << 20,  # bytes
        "write_buffer_size": WRITE_BUFFER,
        # Bits a key. With Faust's 3, asking for keys that are not there filled the block cache with 60 MB.
        "bloom_filter_size": 10,
        "owner": owner,
        "on_set_aside": on_set_aside,
        "indexed": indexed,
    }


class Store(rocksdb.Store):
    """A RocksDB store that opens each partition with the options of its column family, or goes on without."""

    def __init__(self, *args: Any, options: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Take what Faust's store takes; among its options, those of :func:`table_options`."""
        given = dict(options or {})
        self._owner: Callable[[], StoreOwner | None] = given.pop("owner", lambda: None)
        self._on_set_aside: Callable[[str], None] = given.pop("on_set_aside", lambda _reason: None)
        indexed: Callable[[OpenedRows], Rows] = given.pop("indexed", lambda rows: rows)
        super().__init__(*args, options=given, **kwargs)
        #: Partitions whose store cannot be used now, with the reason.
        self.away: dict[int, str] = {}
        #: How often each partition's database was opened. What is known of one opening may not hold later.
        self.openings: Counter[int] = Counter()
        #: Databases that are being brought up to date, and are not read from yet.
        self._coming_back: dict[int, Any] = {}
        self.rows = indexed(RocksRows(self))

    # -- opening ------------------------------------------------------------------------------------------

    def _open_for_partition(self, partition: int) -> Any:
        """Open a partition's database; set it aside first if it is damaged or not ours.

        Raises:
            StoreAway: it cannot be used now.
        """
        path = self.partition_path(partition)
        try:
            owner = self._owner()
            if owner is not None and path.exists() and (found := belongs_to(path, owner)) is not True:
                # A folder without a mark is restored, too. Commit metadata and offsets would not tell whether
                # it is a copy of this changelog: one made for another group may be as long.
                self.set_aside(partition, SetAside.UNMARKED if found is None else SetAside.FOREIGN)
            try:
                db = self._opened(path)
            except Exception as error:  # rocksdict has no other class
                if is_passing(error):
                    raise
                self.set_aside(partition, SetAside.DAMAGED)
                db = self._opened(path)
            if owner is not None:
                write_owner(path, owner)
        except Exception as error:
            raise StoreAway(reason_of(error)) from None
        self.away.pop(partition, None)
        self.openings[partition] += 1
        return db

    def _opened(self, path: Path) -> Any:
        options = self.rocksdb_options.as_options()
        db = rocksdict.Rdict(str(path), options=options, column_families={"default": options})
        try:
            db.set_read_options(rocksdict.ReadOptions())
            _contained(db, self.offset_key)
        except Exception:
            db.close()
            raise
        return db

    def open(self, partition: int) -> bool:
        """Open a partition's database if it is not open; return whether it can be used."""
        self._drop(self._coming_back.pop(partition, None))
        try:
            self._db_for_partition(partition)
        except StoreAway as error:
            self._tell_away(partition, str(error))
            return False
        return True

    async def _try_open_db_for_partition(
        self,
        partition: int,
        max_retries: int = 30,
        retry_delay: float = 1.0,
        generation_id: int = 0,
    ) -> Any:
        """Open it; wait where somebody still reads what this process had open. Else go on without."""
        for _ in range(max_retries):
            if self.open(partition) or self.away.get(partition) != LOCKED:
                return
            if generation_id != self.app.consumer_generation_id:
                return
            await self.sleep(retry_delay)

    async def need_active_standby_for(self, tp: TP) -> bool:
        """Return whether this worker keeps a copy of `tp`: always, as each worker has a folder of its own."""
        self.open(tp.partition)
        return True

    def persisted_offset(self, tp: TP) -> int | None:
        """Return the offset up to and with which the store contains the changelog; None: nothing of it."""
        return self.contained(tp.partition)

    def contained(self, partition: int) -> int | None:
        """Return the same for a partition; None also while its store is away."""
        if not self.open(partition):
            return None
        try:
            return _contained(self._dbs[partition], self.offset_key)
        except Exception as error:
            self.failed(partition, error)
            return None

    def revoke_partitions(self, table: Any, tps: set[TP]) -> None:
        """Close what is not ours any more."""
        for tp in tps:
            if tp.topic in table.changelog_topic.topics:
                self.away.pop(tp.partition, None)
                self._drop(self._coming_back.pop(tp.partition, None))
        super().revoke_partitions(table, tps)

    # -- trouble ------------------------------------------------------------------------------------------

    def failed(self, partition: int, error: Exception) -> None:
        """Go on without a partition's store, after `error` of a read or a write.

        A full or broken disk is the disk of all partitions: their stores are away together, and come back
        together. A damaged store is set aside alone.
        """
        if not is_passing(error):
            try:
                self.set_aside(partition, SetAside.DAMAGED)
            except OSError as refused:
                error = refused
            else:
                self.away[partition] = WHY[SetAside.DAMAGED]
                return
        for each in {*self._dbs, partition}:
            self._drop_in_thread(self._dbs.pop(each, None))
            self._tell_away(each, reason_of(error))

    def set_aside(self, partition: int, reason: SetAside) -> None:
        """Rename a partition's folder, so that the next opening makes a new one.

        Of each partition the last folder that was set aside is kept, for a person to look at.

        Raises:
            OSError: it cannot be renamed.
        """
        self._drop(self._dbs.pop(partition, None))
        self._drop(self._coming_back.pop(partition, None))
        path = self.partition_path(partition)
        for old in path.parent.glob(f"{path.name}.set-aside-*"):
            shutil.rmtree(old, ignore_errors=True)
        aside = path.with_name(f"{path.name}.set-aside-{time.time_ns()}")
        path.rename(aside)
        self._on_set_aside(reason)
        log.warning(
            "the store in %s is set aside as %s, because %s: %s",
            path,
            aside.name,
            WHY[reason],
            RESTORED,
            extra={"event": "store_set_aside", "partition": partition, "reason": str(reason)},
        )

    def begin_anew(self, partition: int, reason: SetAside) -> None:
        """Set a partition's store aside for this reason, and open a new one."""
        try:
            self.set_aside(partition, reason)
        except OSError as error:
            self.failed(partition, error)
        else:
            self.open(partition)

    def _tell_away(self, partition: int, reason: str) -> None:
        if self.away.get(partition) != reason:
            self.away[partition] = reason
            log.warning(
                "the store in %s cannot be used now: %s; %s",
                self.partition_path(partition),
                reason,
                AWAY,
                extra={"event": "store_away", "partition": partition},
            )

    @staticmethod
    def _drop(db: Any) -> None:
        if db is not None:
            with suppress(Exception):  # it writes what it holds in memory, and the disk may be full
                db.close()

    def _drop_in_thread(self, db: Any) -> None:
        """Close a database whose disk is to blame: RocksDB waits for a second before it gives up.

        Until it has, another opening is refused as by somebody else who has the folder open.
        """
        threading.Thread(target=self._drop, args=(db,), name="close-store", daemon=True).start()

    # -- coming back --------------------------------------------------------------------------------------

    def begin_return(self, partition: int) -> int | None:
        """Open the store of a partition that is away, for :meth:`write_returning`; return what it contains.

        Raises:
            StoreAway: it cannot be used yet.
        """
        reason = self.away.get(partition, "")
        self._drop(self._coming_back.pop(partition, None))
        try:
            self._coming_back[partition] = db = self._open_for_partition(partition)
        except StoreAway as error:
            if str(error) != LOCKED:
                self._tell_away(partition, str(error))
            raise
        self.away[partition] = reason
        return _contained(db, self.offset_key)

    def write_returning(self, partition: int, changes: Mapping[bytes, bytes | None], contained: int) -> None:
        """Apply `changes` to a store that comes back.

        Raises:
            StoreAway: it cannot be used after all, or the partition was given to somebody else.
        """
        db = self._coming_back.get(partition)
        if db is None:
            raise StoreAway("it is opened anew")
        try:
            write_rows(db, changes, contained, self.offset_key)
        except Exception as error:
            if is_passing(error):
                self._drop_in_thread(self._coming_back.pop(partition))
            else:
                self.set_aside(partition, SetAside.DAMAGED)
            raise StoreAway(reason_of(error)) from None

    def end_return(self, partition: int) -> None:
        """Use a store that is complete again. Does nothing if the partition was given to somebody else."""
        if (db := self._coming_back.pop(partition, None)) is not None:
            self._dbs[partition] = db
            self.away.pop(partition, None)
            log.info(
                "the store in %s is in use again",
                self.partition_path(partition),
                extra={"event": "store_back", "partition": partition},
            )


def _contained(db: Any, offset_key: bytes) -> int | None:
    raw = db.get(offset_key)
    return None if raw is None else int(raw)
